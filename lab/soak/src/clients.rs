//! The clients of checks and soak: they subscribe in each format, and note what they are told.
//!
//! 1. [`wish`]: what a client subscribes to, of a [`source`]
//! 2. [`session`], [`json`], [`events`], [`streams`]: a subscription over a session in protobuf or JSON, over server-sent
//!    events, or over those of Durable Streams
//! 3. [`position`]: what it was told, in any format; a [`table`], if it keeps one

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "test code: a failure is a panic"
)]

mod events;
mod json;
pub(crate) mod position;
pub(crate) mod session;
pub(crate) mod source;
mod streams;
pub(crate) mod table;
pub(crate) mod wish;

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use sluicegate_protocol::is_removal_header;
use sluicegate_stack::http::client::{self as http, Streamed};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use self::events::Events;
use self::json::Json;
use self::position::{Position, Told};
use self::session::Session;
use self::streams::Streams;
use self::table::Record;
use self::wish::Wish;

pub(crate) enum Client {
    Session(Session),
    Json(Json),
    Events(Events),
    Streams(Streams),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Session,
    Json,
    /// Or a session, if no stream of events is about what the client wants.
    Events,
    /// Or a session, if no stream has what the client wants, or records can be discarded before it has them.
    Streams,
}

impl Client {
    /// Subscribes from `position` on, or from the beginning. `None`: the connection was refused or lost.
    pub(crate) async fn open(
        format: Format,
        gateway: SocketAddr,
        wish: &Wish,
        position: &Position,
    ) -> Option<Self> {
        match format {
            Format::Json => Json::open(gateway, wish, position).await.map(Self::Json),
            // A stream of events is about one resource, and says where it is by an id of the bridge's own.
            Format::Events if events::resource(wish).is_some() => {
                Events::open(gateway, wish, position).await.map(Self::Events)
            }
            Format::Streams if streams::resource(wish).is_some() && !position.may_miss => {
                Streams::open(gateway, wish, position).await.map(Self::Streams)
            }
            Format::Session | Format::Events | Format::Streams => {
                Session::open(gateway, wish, position).await.map(Self::Session)
            }
        }
    }

    /// Next event; `None`: the connection is lost, or the subscription has ended with an error that a retry can help
    /// against.
    pub(crate) async fn told(&mut self) -> Option<Told> {
        match self {
            Self::Session(session) => session.told().await,
            Self::Json(json) => json.told().await,
            Self::Events(events) => events.told().await,
            Self::Streams(streams) => streams.told().await,
        }
    }

    /// The code with which its session was closed.
    pub(crate) fn close_code(&self) -> Option<u16> {
        match self {
            Self::Session(session) => session.socket.close_code,
            Self::Json(json) => json.socket.close_code,
            Self::Events(_) | Self::Streams(_) => None,
        }
    }
}

/// A session over a WebSocket.
struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// Gives credit for what was last told.
    credit: Option<Message>,
    close_code: Option<u16>,
}

impl Socket {
    async fn open(mut request: Request, wish: &Wish, command: Message) -> Option<Self> {
        if let Some(authorization) = &wish.authorization {
            request.headers_mut().insert("authorization", authorization.parse().unwrap());
        }
        let (mut stream, _) = connect_async(request).await.ok()?;
        stream.send(command).await.ok()?;
        Some(Self { stream, credit: None, close_code: None })
    }

    /// The next message; `None` at the end. Nothing is lost if it is cancelled.
    async fn next(&mut self) -> Option<Message> {
        if let Some(credit) = &self.credit {
            self.stream.send(credit.clone()).await.ok()?;
            self.credit = None;
        }
        loop {
            match self.stream.next().await?.ok()? {
                Message::Ping(_) => {}
                Message::Close(close) => {
                    self.close_code = close.map(|close| close.code.into());
                    return None;
                }
                message => return Some(message),
            }
        }
    }
}

/// An answer of server-sent events.
struct EventSource {
    body: Streamed,
    unread: String,
}

impl EventSource {
    async fn open(gateway: SocketAddr, request: http::Request) -> Option<Self> {
        let body = http::Client::connect(gateway).await.ok()?.stream(request).await.ok()?;
        if body.head.status != 200 {
            assert!([502, 503, 504].contains(&body.head.status), "{:?}", body.head);
            return None;
        }
        Some(Self { body, unread: String::new() })
    }

    /// The next event; `None` at the end. Nothing is lost if it is cancelled.
    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some((event, rest)) = self.unread.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.unread = rest;
                return Some(event);
            }
            let part = self.body.next().await.ok()??;
            self.unread.push_str(std::str::from_utf8(&part).unwrap());
        }
    }
}

const SUBSCRIPTION: i64 = 1;

/// A record or a message of a stream in JSON.
fn json_record(data: &Value) -> Record {
    let either = |names: [&str; 2]| names.into_iter().find_map(|name| data.get(name)).unwrap();
    let is_removal = |header: &Value| {
        let text = |name: &str| header.get(name).and_then(Value::as_str);
        is_removal_header(text("key").unwrap().as_bytes(), text("value").map(str::as_bytes))
    };
    let headers = data.get("headers").and_then(Value::as_array);
    Record {
        offset: either(["offset", "sequence"]).as_i64().unwrap(),
        key: either(["key", "subject"]).as_str().unwrap_or_default().to_owned().into(),
        value: data.get("value").and_then(Value::as_str).unwrap_or_default().to_owned().into(),
        is_removal: data.get("value").is_some_and(Value::is_null)
            || headers.into_iter().flatten().any(is_removal),
    }
}
