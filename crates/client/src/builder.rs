//! Opening a session.

use std::borrow::Cow;
use std::time::Duration;

use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::http::header::{self, HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::{self, protocol::WebSocketConfig};

use crate::connection::Socket;
use crate::{Client, ConnectError, chunked};

/// A session to be opened, and its limits. Made by [`Client::builder`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing before `connect`"]
pub struct Builder {
    url: String,
    headers: Vec<(String, String)>,
    max_message_bytes: usize,
    max_in_flight: usize,
    connect_timeout: Duration,
    request_timeout: Duration,
}

impl Builder {
    pub(crate) fn new(url: String) -> Self {
        Self {
            url,
            headers: Vec::new(),
            max_message_bytes: 16 * 1024 * 1024,
            max_in_flight: 16,
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
        }
    }

    /// Sends a header with the upgrade, such as `Authorization` or `Origin`. Repeated names are all sent, but a `Host`
    /// replaces that of the URL.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Longest answer accepted, 16 MiB by default; a longer one ends the session. A client holds at most this times
    /// [`max_in_flight`](Self::max_in_flight) of answers that nobody has taken yet.
    pub fn max_message_bytes(mut self, bytes: usize) -> Self {
        self.max_message_bytes = bytes;
        self
    }

    /// Commands that wait for an answer at the same time, 16 by default and at least 1; further ones wait to be sent.
    pub fn max_in_flight(mut self, commands: usize) -> Self {
        self.max_in_flight = commands.clamp(1, MAX_IN_FLIGHT);
        self
    }

    /// How long [`connect`](Self::connect) may take as a whole; 10 s by default.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// How long a command may take, its wait to be sent included; 30 s by default.
    pub fn request_timeout(mut self, limit: Duration) -> Self {
        self.request_timeout = limit;
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
        let request = self.request()?;
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .max_message_size(Some(self.max_message_bytes))
            .max_frame_size(Some(self.max_message_bytes));
        let socket = timeout(self.connect_timeout, open(request, config))
            .await
            .map_err(|_| ConnectError::Timeout { after: self.connect_timeout })?
            .map_err(|why| refusal(&self.url, why))?;
        Ok(Client::new(socket, self.max_in_flight, self.request_timeout))
    }

    fn request(&self) -> Result<Request, ConnectError> {
        let mut request = self.url.as_str().into_client_request().map_err(|why| refusal(&self.url, why))?;
        let misused = |problem: &str| ConnectError::Url { url: self.url.clone(), problem: problem.into() };
        if !matches!(request.uri().scheme_str(), Some("ws" | "wss")) {
            return Err(misused("it begins with neither"));
        }
        if request.uri().authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(misused("user and password in a URL are not sent, use a header"));
        }
        for (name, value) in &self.headers {
            let refused = |problem| ConnectError::Header { name: name.clone(), problem };
            let field = HeaderName::try_from(name.as_str()).map_err(|_| refused("no header name"))?;
            if HANDSHAKE_HEADERS.contains(&field) {
                return Err(refused("the handshake sets it"));
            }
            let value = HeaderValue::try_from(value.as_str()).map_err(|_| refused("no header value"))?;
            if field == header::HOST {
                request.headers_mut().insert(field, value);
            } else {
                request.headers_mut().append(field, value);
            }
        }
        Ok(request)
    }
}

#[cfg(not(feature = "tls"))]
async fn open(request: Request, config: WebSocketConfig) -> Result<Socket, tungstenite::Error> {
    let (socket, _) = tokio_tungstenite::connect_async_with_config(request, Some(config), NO_DELAY).await?;
    Ok(socket)
}

#[cfg(feature = "tls")]
async fn open(request: Request, config: WebSocketConfig) -> Result<Socket, tungstenite::Error> {
    let connector = crate::tls::connector(request.uri())?;
    let (socket, _) =
        tokio_tungstenite::connect_async_tls_with_config(request, Some(config), NO_DELAY, connector).await?;
    Ok(socket)
}

fn refusal(url: &str, why: tungstenite::Error) -> ConnectError {
    use tungstenite::Error::{Http, HttpFormat, Io, Url};
    match why {
        Url(problem) => ConnectError::Url { url: url.into(), problem: problem.to_string() },
        HttpFormat(problem) => ConnectError::Url { url: url.into(), problem: problem.to_string() },
        Http(answer) => {
            let body = answer.body().as_deref().unwrap_or_default();
            // RFC 9112, section 6.1: chunked is the last coding, where it is one.
            let codings = answer.headers().get_all(header::TRANSFER_ENCODING).iter().next_back();
            let chunked =
                codings.is_some_and(|codings| codings.as_bytes().to_ascii_lowercase().ends_with(b"chunked"));
            let body = if chunked { chunked::decode(body).into() } else { Cow::from(body) };
            ConnectError::Refused {
                status: answer.status().as_u16(),
                body: String::from_utf8_lossy(&body).into_owned(),
            }
        }
        Io(why) => ConnectError::Network(why),
        why => ConnectError::Handshake(Box::new(why)),
    }
}

/// Headers whose values make the upgrade what it is.
const HANDSHAKE_HEADERS: [HeaderName; 5] = [
    header::CONNECTION,
    header::UPGRADE,
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_VERSION,
    header::SEC_WEBSOCKET_EXTENSIONS,
];

/// Bytes read at once. Each read clears this much, which a small answer pays for; a client holds it all its life.
const READ_BUFFER: usize = 32 * 1024;

/// Above this a mistake is likelier than a need; it also stays below what a channel can hold.
const MAX_IN_FLIGHT: usize = 65_536;

/// A request is a single small segment, and its answer is waited for.
const NO_DELAY: bool = true;
