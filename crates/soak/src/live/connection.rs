//! The ways to subscribe.

mod events;
mod json;
mod session;

use std::net::SocketAddr;

use bytes::Bytes;

use self::events::Events;
use self::json::Json;
use self::session::Session;
use super::position::{Position, Told};
use super::system::Source;

/// A client's subscription.
#[derive(Debug, Clone)]
pub(super) struct Wish {
    pub(super) source: Source,
    /// None: all.
    pub(super) partitions: Vec<i32>,
    /// The keys of the records. None: any.
    pub(super) keys: Vec<Bytes>,
    /// Bytes that it can take at a time.
    pub(super) credit: Option<u64>,
}

impl Wish {
    /// The partitions, also if they are all.
    fn all_partitions(&self) -> Vec<i32> {
        match &self.partitions[..] {
            [] => (0..super::PARTITIONS).collect(),
            some => some.to_vec(),
        }
    }
}

/// An open subscription.
pub(super) enum Connection {
    Session(Session),
    Json(Json),
    Events(Events),
}

impl Connection {
    /// Subscribes from `position` on, or from the beginning. `None`: the connection was refused or lost. The number
    /// decides its kind.
    pub(super) async fn open(
        number: usize,
        gateway: SocketAddr,
        wish: &Wish,
        position: &Position,
    ) -> Option<Self> {
        match number % 4 {
            0 => Json::open(gateway, wish, position).await.map(Self::Json),
            // A stream of events is about one resource, and says where it is by an id of the bridge's own.
            1 if wish.keys.is_empty() && events::resource(wish).is_some() => {
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
