//! Tokens from an endpoint, with the client credentials grant (RFC 6749, section 4.4).

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
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, join, split};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::TokenFault;
use super::oauthbearer::{checked, expires};
use crate::backoff::after;
use crate::dial::first_address;
use crate::redact::Secret;
use crate::tls::{Tls, TlsFault};

/// A token endpoint and its last token, for all connections of a cluster.
pub(crate) struct Oidc {
    endpoint: Uri,
    /// For an `https:` endpoint.
    tls: Option<Tls>,
    credentials: ClientCredentials,
    current: Mutex<Option<Token>>,
    /// Whether a broker has ever accepted a token.
    trusted: AtomicBool,
    /// The task that renews the token.
    renewal: Mutex<Option<AbortHandle>>,
    /// Held during a request; has time and cause of the last failure.
    requesting: Arc<tokio::sync::Mutex<Option<(Instant, TokenFault)>>>,
}

/// The credentials for the endpoint.
#[derive(Debug, Clone)]
pub(crate) struct ClientCredentials {
    pub(crate) id: String,
    pub(crate) secret: Secret,
    pub(crate) scope: Option<String>,
}

#[derive(Clone)]
struct Token {
    value: Secret,
    requested: Instant,
    /// When the next one is requested.
    renew: Instant,
    expires: Instant,
    /// Whether a caller has used it.
    used: bool,
}

impl Oidc {
    pub(crate) fn new(endpoint: Uri, tls: Option<Tls>, credentials: ClientCredentials) -> Self {
        Self {
            endpoint,
            tls,
            credentials,
            current: Mutex::default(),
            trusted: AtomicBool::new(false),
            renewal: Mutex::default(),
            requesting: Arc::default(),
        }
    }

    /// A valid token: the shared one, or a new one if that has expired.
    ///
    /// One caller requests it on behalf of all. A token in use is renewed in the background before it expires, so that
    /// no connection is authenticated with a token that is about to expire. Dropping the call lets the next one request
    /// it.
    pub(crate) async fn token(self: &Arc<Self>, deadline: Instant) -> Result<Secret, TokenFault> {
        let started = Instant::now();
        if let Some(token) = self.valid() {
            if token.renew <= started {
                self.renew();
            }
            return Ok(token.value);
        }
        let mut failure =
            timeout_at(deadline, Arc::clone(&self.requesting).lock_owned()).await.map_err(|_| self.late())?;
        if let Some(token) = self.valid() {
            return Ok(token.value);
        }
        match &*failure {
            // Another caller has just tried.
            Some((when, fault)) if *when >= started => return Err(fault.clone()),
            _ => {}
        }
        let fetched = self.fetch(deadline, true).await;
        *failure = fetched.as_ref().err().map(|fault| (Instant::now(), fault.clone()));
        fetched
    }

    /// Records that a broker accepted a token.
    pub(crate) fn accepted(&self) {
        self.trusted.store(true, Ordering::Relaxed);
    }

    /// Records that a broker rejected `token`. Gives whether the next one can be accepted.
    ///
    /// The token is dropped, because the signing keys may have changed, unless it is new. If brokers reject every
    /// token, this keeps each connection from requesting another one.
    pub(crate) fn rejected(&self, token: &Secret) -> bool {
        let mut current = self.current.lock();
        if let Some(same) = current.as_ref().filter(|current| current.value == *token) {
            if same.requested.elapsed() < YOUNG {
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

    /// Renews the current token at that time, if it was used by then.
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

    /// Requests the next token in the background, unless a request is under way. The current token is kept on failure.
    fn renew(self: &Arc<Self>) {
        let Ok(mut failure) = Arc::clone(&self.requesting).try_lock_owned() else { return };
        let oidc = Arc::clone(self);
        tokio::spawn(async move {
            if let Err(fault) = oidc.fetch(after(Instant::now(), RENEWAL), false).await {
                tracing::warn!(
                    error = fault.what,
                    event = "token_not_renewed",
                    "failed to renew a token, the current one is still valid"
                );
                *failure = Some((Instant::now(), fault));
                if let Some(token) = &mut *oidc.current.lock() {
                    token.renew = after(Instant::now(), RENEWAL);
                }
            }
        });
    }

    /// Requests a token and stores it.
    async fn fetch(self: &Arc<Self>, deadline: Instant, used: bool) -> Result<Secret, TokenFault> {
        // The lifetime counts from the request, because the token is issued before the response arrives.
        let requested = Instant::now();
        let answered = timeout_at(deadline, async { self.read(self.post(deadline).await?).await }).await;
        let (value, lifetime) = answered.unwrap_or_else(|_| Err(self.late()))?;
        let share = |percent| lifetime.checked_div(100).unwrap_or_default().saturating_mul(percent);
        let (renew, expires) = (after(requested, share(80)), after(requested, lifetime));
        *self.current.lock() = Some(Token { value: value.clone(), requested, renew, expires, used });
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
            first_address(addresses, deadline, TcpStream::connect::<SocketAddr>).await
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
        // The HTTP library bounds each part of an answer, but not how many interim responses and chunks there are.
        let (received, sent) = split(stream);
        let stream = TokioIo::new(join(received.take(MAX_RECEIVED), sent));
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.map_err(cut)?;
        // Ends with the response.
        tokio::spawn(connection);
        sender.send_request(self.request()?).await.map_err(cut)
    }

    fn request(&self) -> Result<Request<Full<Bytes>>, TokenFault> {
        let ClientCredentials { id, secret, scope } = &self.credentials;
        let basic = BASE64.encode(format!("{id}:{}", secret.expose()));
        let unusable = |_| self.fault("cannot be called: its URL is invalid", false);
        let mut authorization = HeaderValue::try_from(format!("Basic {basic}")).map_err(|_| {
            self.fault("cannot be called with these credentials: they are no valid HTTP header", false)
        })?;
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

    /// The token of a response, and its lifetime.
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
            .ok_or_else(|| self.fault("sent no usable token: expected JSON with an `access_token`", false))?;
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

/// The URL without its query, which can contain secrets.
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

/// RFC 6749, section 5.2, defines error codes of these letters. Other text could contain a secret.
fn is_code(code: &str) -> bool {
    (1..=64).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
}

/// A byte of a form-encoded scope. librdkafka sends the scope unchanged, so existing escapes are kept.
fn form(byte: u8) -> String {
    match byte {
        b' ' => "+".to_owned(),
        b'&' | b'=' | b'#' => format!("%{byte:02X}"),
        _ if byte.is_ascii_graphic() => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    }
}

/// A number of seconds; some endpoints send it as a string.
fn seconds(number: &serde_json::Value) -> Option<Duration> {
    let seconds = match number {
        serde_json::Value::String(text) => text.parse().ok()?,
        number => number.as_f64()?,
    };
    Duration::try_from_secs_f64(seconds).ok()
}

/// Bytes of an endpoint's response.
const MAX_ANSWER: usize = 64 * 1024;

/// The same with all that is around it.
const MAX_RECEIVED: u64 = 192 * 1024;

/// The longest lifetime of a token, whatever its endpoint says: a year.
const MAX_LIFETIME: Duration = Duration::from_secs(365 * 24 * 3600);

/// The age up to which a rejected token is kept.
const YOUNG: Duration = Duration::from_secs(5);

/// The timeout of a renewal in the background, and the pause after a failed one.
const RENEWAL: Duration = Duration::from_secs(10);

#[cfg(test)]
pub(crate) mod tests;
