//! Tokens from an endpoint, by the client credentials grant (RFC 6749, section 4.4).

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::oauthbearer::{checked, expires};
use crate::clock::after;
use crate::dial::first;
use crate::lock::Lock;
use crate::redact::Secret;
use crate::tls::{Tls, TlsFault};

/// A token endpoint and the token that it last gave, for all connections of a cluster.
pub(crate) struct Oidc {
    endpoint: Uri,
    /// For an `https:` endpoint.
    tls: Option<Tls>,
    credentials: ClientCredentials,
    current: Lock<Option<Token>>,
    /// Whether a broker has ever taken a token.
    trusted: AtomicBool,
    /// What renews it.
    renewal: Lock<Option<AbortHandle>>,
    /// Held while the endpoint is being asked; when and why that last failed.
    asking: Arc<tokio::sync::Mutex<Option<(Instant, TokenFault)>>>,
}

/// As whom to ask.
#[derive(Debug, Clone)]
pub(crate) struct ClientCredentials {
    pub(crate) id: String,
    pub(crate) secret: Secret,
    pub(crate) scope: Option<String>,
}

/// Why there is no token.
#[derive(Debug, Clone)]
pub(crate) struct TokenFault {
    pub(crate) what: String,
    pub(crate) retriable: bool,
}

#[derive(Clone)]
struct Token {
    value: Secret,
    asked: Instant,
    /// From when on the next one is asked for.
    renew: Instant,
    expires: Instant,
    /// Whether it was of use to anyone.
    used: bool,
}

impl Oidc {
    pub(crate) fn new(endpoint: Uri, tls: Option<Tls>, credentials: ClientCredentials) -> Self {
        Self {
            endpoint,
            tls,
            credentials,
            current: Lock::default(),
            trusted: AtomicBool::new(false),
            renewal: Lock::default(),
            asking: Arc::default(),
        }
    }

    /// A token that is valid: the shared one, or a new one where that has expired.
    ///
    /// One caller asks the endpoint on behalf of all. A token in use is renewed in the background some time before it
    /// expires, so that no connection is made with one that will soon do so, and used on meanwhile. Dropping the call lets
    /// the next one ask.
    pub(crate) async fn token(self: &Arc<Self>, deadline: Instant) -> Result<Secret, TokenFault> {
        let started = Instant::now();
        if let Some(token) = self.valid() {
            if token.renew <= started {
                self.renew();
            }
            return Ok(token.value);
        }
        let mut failure =
            timeout_at(deadline, Arc::clone(&self.asking).lock_owned()).await.map_err(|_| self.late())?;
        if let Some(token) = self.valid() {
            return Ok(token.value);
        }
        match &*failure {
            // Somebody has just asked.
            Some((when, fault)) if *when >= started => return Err(fault.clone()),
            _ => {}
        }
        let fetched = self.fetch(deadline, true).await;
        *failure = fetched.as_ref().err().map(|fault| (Instant::now(), fault.clone()));
        fetched
    }

    /// Notes that a broker has taken a token.
    pub(crate) fn accepted(&self) {
        self.trusted.store(true, Ordering::Relaxed);
    }

    /// Notes that a broker has refused `token`, and gives whether it may take the next one.
    ///
    /// A token is then not given out again, as the keys that sign tokens may have changed, unless it is too young for that:
    /// where brokers refuse every token, the endpoint is not asked for each connection.
    pub(crate) fn refused(&self, token: &Secret) -> bool {
        let mut current = self.current.lock();
        if let Some(same) = current.as_ref().filter(|current| current.value == *token) {
            if same.asked.elapsed() < YOUNG {
                return false;
            }
            *current = None;
        }
        self.trusted.load(Ordering::Relaxed)
    }

    fn valid(&self) -> Option<Token> {
        let mut current = self.current.lock();
        let token = current.as_mut().filter(|token| Instant::now() < token.expires)?;
        token.used = true;
        Some(token.clone())
    }

    /// Renews the token that was just fetched when its time comes, if someone has used it by then.
    fn renew_at(self: &Arc<Self>, time: Instant) {
        let oidc = Arc::downgrade(self);
        let task = tokio::spawn(async move {
            sleep_until(time).await;
            let Some(oidc) = oidc.upgrade() else { return };
            if oidc.current.lock().as_ref().is_some_and(|token| token.used) {
                oidc.renew();
            }
        });
        if let Some(earlier) = self.renewal.lock().replace(task.abort_handle()) {
            earlier.abort();
        }
    }

    /// Asks for the next token, unless that is being done. The present one stays if it fails.
    fn renew(self: &Arc<Self>) {
        let Ok(mut failure) = Arc::clone(&self.asking).try_lock_owned() else { return };
        let oidc = Arc::clone(self);
        tokio::spawn(async move {
            if let Err(fault) = oidc.fetch(after(Instant::now(), RENEWAL), false).await {
                tracing::warn!(error = fault.what, "failed to renew a token, its predecessor is still valid");
                *failure = Some((Instant::now(), fault));
                if let Some(token) = &mut *oidc.current.lock() {
                    token.renew = after(Instant::now(), RENEWAL);
                }
            }
        });
    }

    /// Asks the endpoint, and keeps what it gives for as long as that is valid.
    async fn fetch(self: &Arc<Self>, deadline: Instant, used: bool) -> Result<Secret, TokenFault> {
        // Its validity counts from when it was made, not from when it arrived.
        let asked = Instant::now();
        let answered = timeout_at(deadline, async { self.read(self.post(deadline).await?).await }).await;
        let (value, lifetime) = answered.unwrap_or_else(|_| Err(self.late()))?;
        let share = |percent| lifetime.checked_div(100).unwrap_or_default().saturating_mul(percent);
        let (renew, expires) = (after(asked, share(80)), after(asked, lifetime));
        *self.current.lock() = Some(Token { value: value.clone(), asked, renew, expires, used });
        if renew < expires {
            self.renew_at(renew);
        }
        Ok(value)
    }

    async fn post(&self, deadline: Instant) -> Result<Response<Incoming>, TokenFault> {
        let host = self.endpoint.host().unwrap_or_default().trim_matches(['[', ']']);
        let port = self.endpoint.port_u16().unwrap_or(if self.tls.is_some() { 443 } else { 80 });
        let connected = async {
            let addresses = lookup_host((host, port)).await?.collect();
            first(addresses, deadline, TcpStream::connect::<SocketAddr>).await
        };
        let stream =
            connected.await.map_err(|error| self.fault(&format!("cannot be reached: {error}"), true))?;
        match &self.tls {
            None => self.exchange(stream).await,
            Some(tls) => {
                let fault = |TlsFault { what, retriable }| {
                    self.fault(&format!("cannot be reached over TLS: {what}"), retriable)
                };
                self.exchange(tls.connect(host, stream).await.map_err(fault)?).await
            }
        }
    }

    async fn exchange<S>(&self, stream: S) -> Result<Response<Incoming>, TokenFault>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let cut = |error: hyper::Error| self.fault(&format!("did not answer with HTTP/1.1: {error}"), true);
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(cut)?;
        // Ends with the response.
        tokio::spawn(connection);
        sender.send_request(self.request()?).await.map_err(cut)
    }

    fn request(&self) -> Result<Request<Full<Bytes>>, TokenFault> {
        let ClientCredentials { id, secret, scope } = &self.credentials;
        let basic = BASE64.encode(format!("{id}:{}", secret.expose()));
        let unusable = |_| self.fault("cannot be asked: its URL makes no request", false);
        let mut authorization = HeaderValue::try_from(format!("Basic {basic}"))
            .map_err(|_| self.fault("cannot be asked with these credentials", false))?;
        authorization.set_sensitive(true);
        let mut body = "grant_type=client_credentials".to_owned();
        if let Some(scope) = scope {
            body.push_str("&scope=");
            body.extend(scope.bytes().map(form));
        }
        let path = self.endpoint.path_and_query().map_or("/", |path| path.as_str());
        let host = self.endpoint.authority().map(|authority| authority.as_str()).unwrap_or_default();
        Request::post(path)
            .header(HOST, host)
            .header(AUTHORIZATION, authorization)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json")
            .body(Full::from(body))
            .map_err(|error: hyper::http::Error| unusable(error))
    }

    /// The token in a response, and how long it is valid.
    async fn read(&self, response: Response<Incoming>) -> Result<(Secret, Duration), TokenFault> {
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        let body = body.map(|body| body.to_bytes()).map_err(|error| {
            if error.is::<LengthLimitError>() {
                self.fault(&format!("answered with more than {MAX_ANSWER} bytes"), false)
            } else {
                self.fault("did not answer to the end", true)
            }
        });
        if status != StatusCode::OK {
            let answer: serde_json::Value =
                serde_json::from_slice(&body.unwrap_or_default()).unwrap_or_default();
            let code = answer.get("error").and_then(|code| code.as_str()).filter(|code| is_code(code));
            let code = code.map(|code| format!(" ({code})")).unwrap_or_default();
            let retriable = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
            return Err(
                self.fault(&format!("answered with HTTP status {}{code}", status.as_u16()), retriable)
            );
        }
        let answer: serde_json::Value = serde_json::from_slice(&body?).unwrap_or_default();
        let token = answer.get("access_token").and_then(|token| token.as_str()).and_then(checked);
        let token = token
            .ok_or_else(|| self.fault("gave no usable token: expected JSON with an `access_token`", false))?;
        // RFC 6749, section 5.1: "expires_in RECOMMENDED". A token of unknown lifetime is not used again.
        let lifetime = answer.get("expires_in").and_then(seconds);
        let told = || expires(&token)?.duration_since(SystemTime::now()).ok();
        let lifetime = lifetime.or_else(told).unwrap_or_default().min(MAX_LIFETIME);
        Ok((token, lifetime))
    }

    fn late(&self) -> TokenFault {
        self.fault("did not answer in time", true)
    }

    fn fault(&self, what: &str, retriable: bool) -> TokenFault {
        TokenFault { what: format!("the token endpoint {self} {what}"), retriable }
    }
}

/// The URL without its query, which may hold secrets.
impl fmt::Display for Oidc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.endpoint.scheme_str().unwrap_or_default();
        let authority = self.endpoint.authority().map(|authority| authority.as_str()).unwrap_or_default();
        write!(f, "{scheme}://{authority}{}", self.endpoint.path())
    }
}

impl fmt::Debug for Oidc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Oidc({self})")
    }
}

/// RFC 6749, section 5.2, names its error codes in these letters; anything else may be a secret that is repeated.
fn is_code(code: &str) -> bool {
    (1..=64).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
}

/// A byte of a scope in a form. librdkafka sends it as it stands, so what is escaped already stays as it is.
fn form(byte: u8) -> String {
    match byte {
        b' ' => "+".to_owned(),
        b'&' | b'=' | b'#' => format!("%{byte:02X}"),
        _ if byte.is_ascii_graphic() => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    }
}

/// A number of seconds, which some endpoints write as text.
fn seconds(number: &serde_json::Value) -> Option<Duration> {
    let seconds = match number {
        serde_json::Value::String(text) => text.parse().ok()?,
        number => number.as_f64()?,
    };
    Duration::try_from_secs_f64(seconds).ok()
}

/// Bytes of an endpoint's answer.
const MAX_ANSWER: usize = 64 * 1024;

/// For how long a token is kept at most, whatever its endpoint says: a year.
const MAX_LIFETIME: Duration = Duration::from_secs(365 * 24 * 3600);

/// The age up to which a token that was refused is kept all the same.
const YOUNG: Duration = Duration::from_secs(5);

/// The longest a renewal in the background may take, and the pause after one that failed.
const RENEWAL: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
