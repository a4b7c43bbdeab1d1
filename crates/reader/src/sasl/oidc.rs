//! Tokens from an endpoint, by the client credentials grant (RFC 6749, section 4.4).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::oauthbearer::checked;
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
        let late = || self.fault("did not answer in time", true);
        let mut failure =
            timeout_at(deadline, Arc::clone(&self.asking).lock_owned()).await.map_err(|_| late())?;
        if let Some(token) = self.valid() {
            return Ok(token.value);
        }
        match &*failure {
            // Somebody has just asked.
            Some((when, fault)) if *when >= started => return Err(fault.clone()),
            _ => {}
        }
        let fetched = timeout_at(deadline, self.fetch(true)).await.unwrap_or_else(|_| Err(late()));
        *failure = fetched.as_ref().err().map(|fault| (Instant::now(), fault.clone()));
        fetched
    }

    /// Does not give out `token` again.
    pub(crate) fn forget(&self, token: &Secret) {
        let mut current = self.current.lock();
        if current.as_ref().is_some_and(|current| current.value == *token) {
            *current = None;
        }
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
            let deadline = after(Instant::now(), RENEWAL);
            let late = || oidc.fault("did not answer in time", true);
            let fetched = timeout_at(deadline, oidc.fetch(false)).await.unwrap_or_else(|_| Err(late()));
            if let Err(fault) = fetched {
                tracing::warn!(error = fault.what, "failed to renew a token, its predecessor is still valid");
                *failure = Some((Instant::now(), fault));
                if let Some(token) = &mut *oidc.current.lock() {
                    token.renew = after(Instant::now(), RENEWAL);
                }
            }
        });
    }

    /// Asks the endpoint, and keeps what it gives for as long as that is valid.
    async fn fetch(self: &Arc<Self>, used: bool) -> Result<Secret, TokenFault> {
        // Its validity counts from when it was made, not from when it arrived.
        let asked = Instant::now();
        let response = self.post().await?;
        let (value, lifetime) = self.read(response).await?;
        let share = |percent| lifetime.checked_div(100).unwrap_or_default().saturating_mul(percent);
        let (renew, expires) = (after(asked, share(80)), after(asked, lifetime));
        *self.current.lock() = Some(Token { value: value.clone(), renew, expires, used });
        if renew < expires {
            self.renew_at(renew);
        }
        Ok(value)
    }

    async fn post(&self) -> Result<Response<Incoming>, TokenFault> {
        let host = self.endpoint.host().unwrap_or_default().trim_matches(['[', ']']);
        let port = self.endpoint.port_u16().unwrap_or(if self.tls.is_some() { 443 } else { 80 });
        let stream = TcpStream::connect((host, port))
            .await
            .map_err(|error| self.fault(&format!("cannot be reached: {error}"), true))?;
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
        let body = body.map(|body| body.to_bytes()).unwrap_or_default();
        let answer: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        if status != StatusCode::OK {
            let code = answer.get("error").and_then(|code| code.as_str()).filter(|code| is_code(code));
            let code = code.map(|code| format!(" ({code})")).unwrap_or_default();
            let retriable = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
            return Err(
                self.fault(&format!("answered with HTTP status {}{code}", status.as_u16()), retriable)
            );
        }
        let token = answer.get("access_token").and_then(|token| token.as_str()).and_then(checked);
        let token = token
            .ok_or_else(|| self.fault("gave no usable token: expected JSON with an `access_token`", false))?;
        // RFC 6749, section 5.1: "expires_in RECOMMENDED". A token of unknown lifetime is not used again.
        let lifetime = answer.get("expires_in").and_then(serde_json::Value::as_u64).unwrap_or(0);
        Ok((token, Duration::from_secs(lifetime.min(MAX_LIFETIME))))
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

fn after(start: Instant, duration: Duration) -> Instant {
    start.checked_add(duration).unwrap_or(start)
}

/// Bytes of an endpoint's answer.
const MAX_ANSWER: usize = 64 * 1024;

/// Seconds for which a token is kept at most, whatever its endpoint says: a year.
const MAX_LIFETIME: u64 = 365 * 24 * 3600;

/// The longest a renewal in the background may take, and the pause after one that failed.
const RENEWAL: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
