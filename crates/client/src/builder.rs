//! The settings of a client, and opening a session with them.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::{self, protocol::WebSocketConfig};
use tracing::debug;

#[cfg(feature = "tls")]
use crate::Tls;
use crate::connection::Socket;
use crate::login::Login;
use crate::retry::Retries;
use crate::{Client, ConnectError, LoginError, chunked, printable_url, transport};

/// The settings of a client. Made by [`Client::builder`].
#[derive(Clone)]
#[must_use = "a builder does nothing before `connect`"]
pub struct Builder {
    pub(crate) url: String,
    headers: Vec<(String, String)>,
    pub(crate) login: Option<Login>,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<Tls>,
    #[cfg(feature = "testing")]
    pub(crate) dial: Option<Dial>,
    pub(crate) max_message_bytes: usize,
    pub(crate) max_in_flight: usize,
    pub(crate) connect_timeout: Duration,
    pub(crate) request_timeout: Duration,
    pub(crate) retries: Retries,
}

/// A function that opens a connection.
#[cfg(feature = "testing")]
type Dial = std::sync::Arc<dyn Fn() -> std::io::Result<tokio::io::DuplexStream> + Send + Sync>;

/// Shows no value of a header: it may be a secret.
impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        let url = printable_url(&self.url);
        f.debug_struct("Builder").field("url", &url).field("headers", &headers).finish_non_exhaustive()
    }
}

impl Builder {
    pub(crate) fn new(url: String) -> Self {
        Self {
            url,
            headers: Vec::new(),
            login: None,
            #[cfg(feature = "tls")]
            tls: None,
            #[cfg(feature = "testing")]
            dial: None,
            max_message_bytes: 16 * 1024 * 1024,
            max_in_flight: 16,
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            retries: Retries { max: 10, within: Duration::from_secs(30) },
        }
    }

    /// Sends a header with the upgrade or HTTP request, such as `Authorization` or `Origin`. Repeated names are all
    /// sent, but a `Host` replaces that of the URL.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Logs in with JSON Web Tokens of `refresh`, sent as `Authorization: Bearer` instead of a header of that name.
    ///
    /// It is called before each connection and each request of HTTP, and again when the server says that the identity
    /// expires soon, which is then renewed on the open session. Calls never overlap. A subscription whose session
    /// ended with its identity continues with another token.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use sluicegate_client::{Client, LoginError};
    ///
    /// let client = Client::builder("wss://gateway.example/pubsub").refresh(async || {
    ///     let token = tokio::fs::read_to_string("/run/token").await;
    ///     let failed = |why: std::io::Error| LoginError { detail: why.to_string(), retriable: true };
    ///     Ok(token.map_err(failed)?.trim().to_owned())
    /// });
    /// # client.connect().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn refresh<F>(mut self, refresh: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<String, LoginError>> + Send + 'static,
    {
        self.login = Some(Login::new(refresh));
        self
    }

    /// Settings of TLS; by default the system's certificates are trusted, and the client has none.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Opens connections by `dial`, whatever the URL says.
    #[cfg(feature = "testing")]
    pub fn over(
        mut self,
        dial: impl Fn() -> std::io::Result<tokio::io::DuplexStream> + Send + Sync + 'static,
    ) -> Self {
        self.dial = Some(std::sync::Arc::new(dial));
        self
    }

    /// Longest answer accepted, 16 MiB by default; a longer one ends the session. A client holds at most this times
    /// [`max_in_flight`](Self::max_in_flight) of answers that the caller has not taken yet.
    pub fn max_message_bytes(mut self, bytes: usize) -> Self {
        self.max_message_bytes = bytes;
        self
    }

    /// Commands in flight at the same time, 16 by default and at least 1; further ones wait to be sent.
    pub fn max_in_flight(mut self, commands: usize) -> Self {
        self.max_in_flight = commands.clamp(1, MAX_IN_FLIGHT);
        self
    }

    /// Limits the time to connect as a whole, TLS and upgrade included; 10 s by default.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// Limits the time of a command or HTTP request, including its wait to be sent; 30 s by default. Each retry has
    /// this time again.
    pub fn request_timeout(mut self, limit: Duration) -> Self {
        self.request_timeout = limit;
        self
    }

    /// Limits the retries of a read that fails with `retriable`, 10 by default; 0 turns retries off. The pauses between
    /// retries double from 0.1 s to 2 s, with jitter, and are longer if the server asks for more.
    ///
    /// Reads are all commands but [`Client::ping`], [`Client::produce`] and
    /// [`Nats::publish`](crate::nats::Nats::publish). Writes are never repeated.
    pub fn max_retries(mut self, count: u32) -> Self {
        self.retries.max = count;
        self
    }

    /// Limits the time between the first failure of a read and the start of its last retry; 30 s by default. The time
    /// that the server can wait for messages, [`max_wait`](crate::FetchOptions::max_wait), does not count.
    pub fn retry_within(mut self, limit: Duration) -> Self {
        self.retries.within = limit;
        self
    }

    /// Opens the session.
    ///
    /// # Cancel safety
    /// Dropping the future drops the connection.
    ///
    /// # Errors
    /// [`ConnectError`]
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O and time enabled.
    pub async fn connect(self) -> Result<Client, ConnectError> {
        let opened = timeout(self.connect_timeout, async { self.open(self.request().await?).await });
        let socket = opened.await.map_err(|_| self.timed_out())??;
        Ok(Client::new(socket, self))
    }

    async fn open(&self, request: Request) -> Result<Socket, ConnectError> {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .max_message_size(Some(self.max_message_bytes))
            .max_frame_size(Some(self.max_message_bytes));
        let stream = transport::connect(self, request.uri()).await?;
        debug!("requesting a WebSocket, headers: {}", names(request.headers()));
        let opened = tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await;
        let (socket, answer) = opened.map_err(|why| self.refusal(why))?;
        debug!("WebSocket open: HTTP {}, headers: {}", answer.status(), names(answer.headers()));
        Ok(socket)
    }

    async fn request(&self) -> Result<Request, ConnectError> {
        // The parser's errors do not say that the scheme is missing.
        if !["ws://", "wss://"].iter().any(|scheme| self.url.starts_with(scheme)) {
            return Err(self.misused("expected ws:// or wss://, a WebSocket route"));
        }
        let mut request = self.url.as_str().into_client_request().map_err(|why| self.refusal(why))?;
        if request.uri().authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(self.misused("user and password in a URL are not sent, use a header"));
        }
        self.add_headers(request.headers_mut()).await?;
        Ok(request)
    }

    /// Adds the caller's headers and token to those of a request.
    pub(crate) async fn add_headers(&self, headers: &mut HeaderMap) -> Result<(), ConnectError> {
        for (name, value) in &self.headers {
            let refused = |problem| ConnectError::Header { name: name.clone(), problem };
            let field = HeaderName::try_from(name.as_str()).map_err(|_| refused("invalid header name"))?;
            if HANDSHAKE_HEADERS.contains(&field) {
                return Err(refused("the handshake sets it"));
            }
            let value = HeaderValue::try_from(value.as_str()).map_err(|_| refused("invalid header value"))?;
            if field == header::HOST {
                headers.insert(field, value);
            } else {
                headers.append(field, value);
            }
        }
        if let Some(login) = &self.login {
            let token = HeaderValue::try_from(format!("Bearer {}", login.token().await?));
            let token = token.map_err(|_| LoginError { detail: NOT_A_TOKEN.into(), retriable: false })?;
            headers.insert(header::AUTHORIZATION, token);
        }
        Ok(())
    }

    pub(crate) fn misused(&self, problem: &str) -> ConnectError {
        ConnectError::Url { url: printable_url(&self.url), problem: problem.into() }
    }

    pub(crate) fn timed_out(&self) -> ConnectError {
        ConnectError::Timeout { url: printable_url(&self.url), after: self.connect_timeout }
    }

    pub(crate) fn unreachable(&self, cause: std::io::Error) -> ConnectError {
        ConnectError::Network { url: printable_url(&self.url), cause }
    }

    fn refusal(&self, why: tungstenite::Error) -> ConnectError {
        use tungstenite::Error::{Http, HttpFormat, Io, Url};
        match why {
            Url(problem) => self.misused(&problem.to_string()),
            HttpFormat(problem) => self.misused(&problem.to_string()),
            Http(answer) => {
                let body = answer.body().as_deref().unwrap_or_default();
                // RFC 9112, section 6.1: if chunked is used, it is the last coding.
                let codings = answer.headers().get_all(header::TRANSFER_ENCODING).iter().next_back();
                let chunked = codings
                    .is_some_and(|codings| codings.as_bytes().to_ascii_lowercase().ends_with(b"chunked"));
                let body = if chunked { chunked::decode(body).into() } else { Cow::from(body) };
                ConnectError::Refused {
                    url: printable_url(&self.url),
                    status: answer.status().as_u16(),
                    body: String::from_utf8_lossy(&body).into_owned(),
                }
            }
            Io(why) => self.unreachable(why),
            why => ConnectError::Handshake { url: printable_url(&self.url), cause: Box::new(why) },
        }
    }
}

fn names(headers: &HeaderMap) -> String {
    headers.keys().map(HeaderName::as_str).collect::<Vec<_>>().join(", ")
}

/// The token itself is in no error.
const NOT_A_TOKEN: &str = "the token has characters that no token has, such as a line feed";

/// Headers that the WebSocket handshake sets itself.
const HANDSHAKE_HEADERS: [HeaderName; 5] = [
    header::CONNECTION,
    header::UPGRADE,
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_VERSION,
    header::SEC_WEBSOCKET_EXTENSIONS,
];

/// Bytes read at once. Every read clears that much memory, and a client keeps the buffer for as long as it lives.
const READ_BUFFER: usize = 32 * 1024;

/// A larger number is more likely a mistake than a need; it also stays below a channel's capacity.
const MAX_IN_FLIGHT: usize = 65_536;
