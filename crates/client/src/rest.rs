//! The topics of a gateway's `rest` route, over HTTP/1.1.

use std::fmt;
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::http::{HeaderValue, Request, Response, StatusCode, Uri, header};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt as _, join, split};
use tokio::time::{Instant, timeout};
use tracing::debug;

use crate::refusal::after_status;
use crate::{Builder, ConnectError, Partition, Replica, transport};

/// A client of a `rest` route. Made by [`Builder::rest`].
///
/// It keeps one connection and sends one request at a time.
pub struct Rest {
    builder: Builder,
    base: Uri,
    /// And about how many bytes it has received.
    connection: Option<(SendRequest<Empty<Bytes>>, usize)>,
}

/// Why an HTTP request failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestError {
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The bridge answered with a problem document.
    #[error("{message}")]
    Problem {
        /// The HTTP status.
        status: u16,
        /// Kafka's error code, or 0 if it has none.
        code: i32,
        /// The bridge's text.
        message: String,
        /// Finds the request in the bridge's logs and traces; empty if the server does not say so.
        trace_id: String,
    },
    /// The server answered with an error, and not with one of the bridge's.
    #[error("read the topics: the server answered HTTP {status}{}", after_status(.body))]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The answer's body.
        body: String,
    },
    /// The connection ended before the answer was complete.
    #[error("keep the connection: {detail}")]
    Lost {
        /// Description of the end.
        detail: String,
    },
    /// The answer is not one of a `rest` route.
    #[error("understand the server: {detail}")]
    Protocol {
        /// The unexpected content, and the expected one.
        detail: String,
    },
    /// No answer in time.
    #[error("get an answer within {} s", .after.as_secs_f64())]
    Timeout {
        /// The time allowed.
        after: Duration,
    },
}

impl Builder {
    /// A client of the `rest` route at the `http://` URL, or `https://` one with the feature `tls`. It connects with
    /// its first request.
    ///
    /// # Errors
    /// [`ConnectError::Url`]
    pub fn rest(self) -> Result<Rest, ConnectError> {
        let base: Uri = self.url.parse().map_err(|_| self.misused("it is not a URL"))?;
        if !matches!(base.scheme_str(), Some("http" | "https")) || base.host().is_none() {
            return Err(self.misused("expected http:// or https://, a rest route"));
        }
        if base.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(self.misused("user and password in a URL are not sent, use a header"));
        }
        Ok(Rest { builder: self, base, connection: None })
    }
}

impl Rest {
    /// The names of all topics that the route shows.
    ///
    /// # Cancel safety
    /// The answer is dropped, and the connection with it.
    ///
    /// # Errors
    /// [`RestError`]
    pub async fn topics(&mut self) -> Result<Vec<String>, RestError> {
        self.get("/topics").await
    }

    /// The partitions of `topic`.
    ///
    /// # Cancel safety
    /// As [`topics`](Self::topics).
    ///
    /// # Errors
    /// [`RestError`]; for a topic that does not exist [`RestError::Problem`] with Kafka's code 3.
    pub async fn partitions(&mut self, topic: &str) -> Result<Vec<Partition>, RestError> {
        #[derive(Deserialize)]
        struct Topic {
            partitions: Vec<Described>,
        }
        #[derive(Deserialize)]
        struct Described {
            partition: i32,
            leader: i32,
            replicas: Vec<Replica>,
        }
        let topic: Topic = self.get(&format!("/topics/{}", encoded(topic))).await?;
        let partition = |Described { partition, leader, replicas }| {
            // Kafka names a missing leader -1.
            Partition { partition, leader: (leader >= 0).then_some(leader), replicas }
        };
        Ok(topic.partitions.into_iter().map(partition).collect())
    }

    async fn get<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, RestError> {
        let request = self.request(path).await?;
        // Put back after a complete answer: a drop in the middle leaves a connection that cannot be used again.
        let open = self.connection.take().filter(|(connection, _)| !connection.is_closed());
        let (mut connection, received) = match open {
            Some(open) => open,
            None => (self.connect().await?, 0),
        };
        let after = self.builder.request_timeout;
        let start = Instant::now();
        debug!("sending GET {}", request.uri().path());
        let (status, body) =
            timeout(after, exchange(&mut connection, request, self.builder.max_message_bytes))
                .await
                .map_err(|_| RestError::Timeout { after })??;
        debug!("HTTP {} with {} bytes after {:?}", status.as_u16(), body.len(), start.elapsed());
        let received = received.saturating_add(body.len()).saturating_add(HEAD_BYTES);
        self.connection = (received <= self.max_received()).then_some((connection, received));
        if status != StatusCode::OK {
            return Err(refusal(status, &body));
        }
        serde_json::from_slice(&body).map_err(|why| RestError::Protocol {
            detail: format!("the answer to GET {path} is not that of a rest route: {why}"),
        })
    }

    async fn request(&self, path: &str) -> Result<Request<Empty<Bytes>>, ConnectError> {
        let target = format!("{}{path}", self.base.path().trim_end_matches('/'));
        // A query can carry a gateway's token.
        let target = match self.base.query() {
            Some(query) => format!("{target}?{query}"),
            None => target,
        };
        let host = self.base.authority().map_or("", |authority| authority.as_str());
        let misused = |_| self.builder.misused("it is not a URL");
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = target.parse().map_err(|_| self.builder.misused("it is not a URL"))?;
        let headers = request.headers_mut();
        headers.insert(header::HOST, HeaderValue::from_str(host).map_err(misused)?);
        headers.insert(header::ACCEPT, HeaderValue::from_static(ACCEPTED));
        self.builder.add_headers(headers).await?;
        Ok(request)
    }

    /// The bytes of an answer with all that is around it. A connection that has received more is not used again.
    fn max_received(&self) -> usize {
        self.builder.max_message_bytes.saturating_add(AROUND_BYTES)
    }

    async fn connect(&self) -> Result<SendRequest<Empty<Bytes>>, RestError> {
        let after = self.builder.connect_timeout;
        let stream = timeout(after, transport::connect(&self.builder, &self.base))
            .await
            .map_err(|_| self.builder.timed_out())??;
        // The HTTP library bounds each part of an answer, but not how many interim responses and chunks there are. There is
        // room for another answer than those that the connection was kept for.
        let max = self.max_received().saturating_mul(2);
        let (received, sent) = split(stream);
        let stream = TokioIo::new(join(received.take(u64::try_from(max).unwrap_or(u64::MAX)), sent));
        let (connection, driver) = handshake(stream).await.map_err(lost)?;
        // It ends with the connection, and its errors reach the request that waits.
        tokio::spawn(driver);
        Ok(connection)
    }
}

impl fmt::Debug for Rest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rest").field("builder", &self.builder).finish_non_exhaustive()
    }
}

async fn exchange(
    connection: &mut SendRequest<Empty<Bytes>>,
    request: Request<Empty<Bytes>>,
    max: usize,
) -> Result<(StatusCode, Bytes), RestError> {
    connection.ready().await.map_err(lost)?;
    let answer: Response<Incoming> = connection.send_request(request).await.map_err(lost)?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), max).collect().await;
    let body = body.map_err(|why| RestError::Protocol { detail: format!("the answer's body: {why}") })?;
    Ok((status, body.to_bytes()))
}

fn refusal(status: StatusCode, body: &[u8]) -> RestError {
    #[derive(Deserialize)]
    struct Problem {
        detail: String,
        #[serde(default)]
        kafka_code: i32,
        #[serde(default)]
        trace_id: String,
    }
    let status = status.as_u16();
    match serde_json::from_slice(body) {
        Ok(Problem { detail, kafka_code, trace_id }) => {
            RestError::Problem { status, code: kafka_code, message: detail, trace_id }
        }
        Err(_) => RestError::Refused { status, body: String::from_utf8_lossy(body).into_owned() },
    }
}

fn lost(why: hyper::Error) -> RestError {
    RestError::Lost { detail: why.to_string() }
}

/// `topic` as a segment of a path.
fn encoded(topic: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'-' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    topic.bytes().map(encode).collect()
}

/// Headers of an answer, about.
const HEAD_BYTES: usize = 4 * 1024;
/// Headers and interim responses.
const AROUND_BYTES: usize = 128 * 1024;
const ACCEPTED: &str = "application/vnd.kafka.v2+json";
