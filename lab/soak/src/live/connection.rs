//! The ways to subscribe.

mod events;
mod json;
mod session;

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use sluicegate_protocol::is_removal_header;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use self::events::Events;
use self::json::Json;
use self::session::Session;
use super::position::{Position, Told};
use super::table::Record;
use super::wish::Wish;

pub(super) enum Connection {
    Session(Session),
    Json(Json),
    Events(Events),
}

impl Connection {
    /// Two numbers stand for sessions in protobuf.
    pub(super) const KINDS: usize = 4;

    /// Subscribes from `position` on, or from the beginning. `None`: the connection was refused or lost. The number
    /// decides its kind.
    pub(super) async fn open(
        number: usize,
        gateway: SocketAddr,
        wish: &Wish,
        position: &Position,
    ) -> Option<Self> {
        match number % Self::KINDS {
            0 => Json::open(gateway, wish, position).await.map(Self::Json),
            // A stream of events is about one resource, and says where it is by an id of the bridge's own.
            1 if events::resource(wish).is_some() => {
                Events::open(gateway, wish, position).await.map(Self::Events)
            }
            _ => Session::open(gateway, wish, position).await.map(Self::Session),
        }
    }

    /// Next event; `None`: the connection is lost, or the subscription has ended with an error that a retry can help
    /// against.
    pub(super) async fn told(&mut self) -> Option<Told> {
        match self {
            Self::Session(session) => session.told().await,
            Self::Json(json) => json.told().await,
            Self::Events(events) => events.told().await,
        }
    }
}

/// A session over a WebSocket.
struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// Gives credit for what was last told.
    credit: Option<Message>,
}

impl Socket {
    async fn open(request: impl IntoClientRequest + Unpin, command: Message) -> Option<Self> {
        let (mut stream, _) = connect_async(request).await.ok()?;
        stream.send(command).await.ok()?;
        Some(Self { stream, credit: None })
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
                Message::Close(_) => return None,
                message => return Some(message),
            }
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
        is_removal: data.get("value").is_some_and(Value::is_null)
            || headers.into_iter().flatten().any(is_removal),
    }
}
