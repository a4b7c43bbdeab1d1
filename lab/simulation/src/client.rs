//! Clients: how they connect to bridges, and what they get on any way.
//!
//! - here: [`Caller`], what all of them have; [`Client`], an open connection, whose answers are those of a session with
//!   Kafka whatever the way and the system
//! - [`session`]: the protocol that gateways speak to a bridge
//! - [`http`]: plain HTTP and server-sent events

mod http;
mod session;

use std::borrow::Cow;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use prost::Message;
use serde_json::Value;
use sluicegate_fair_share::ClientKey;
use sluicegate_protocol::control_req::Control as Ask;
use sluicegate_protocol::control_resp::Control;
use sluicegate_protocol::kafka_subscription_event::Event;
use sluicegate_protocol::kafka_subscription_event::skipped::Cause;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{ControlReq, ErrorResp, KafkaMessage, KafkaSubscriptionEvent, Reason};
use tokio::io::DuplexStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::http::Http;
pub(crate) use self::http::LastEvent;
use self::session::Session;
use crate::identity::{Identity, Role};
use crate::quota::Received;
use crate::registry::as_stored;
use crate::world::{World, until};

/// What all kinds of clients have. It is shared with the schedule, which cuts the connection.
pub(crate) struct Caller {
    /// Its kind and number.
    pub(crate) name: String,
    /// The key by which shared limits know it.
    key: ClientKey,
    pub(crate) topic: String,
    pub(crate) identity: Option<Arc<Identity>>,
    /// The place of its stream of events, if it speaks plain HTTP; `None`: it has sessions.
    pub(crate) http: Option<LastEvent>,
    /// Whether it asks for values as JSON.
    pub(crate) decodes: bool,
    pub(crate) cut: Cut,
    pub(crate) random: Mutex<fastrand::Rng>,
}

impl Caller {
    /// A client of a kind, with its number.
    pub(crate) fn new((kind, number): (Kind, usize), role: Role, random: fastrand::Rng) -> Self {
        let name = format!("{} {number}", format!("{kind:?}").to_lowercase());
        let address = [10, 0, kind as u8, u8::try_from(number).unwrap_or(u8::MAX)];
        let key = ClientKey::from(IpAddr::from(address));
        let Role { topic, identity, http, decodes } = role;
        Self { name, key, topic, identity, http, decodes, cut: Cut::default(), random: Mutex::new(random) }
    }

    /// Connects to one of the bridges; `None` if there is none, or it is gone.
    pub(crate) async fn connect(&self, world: &World) -> Option<Client> {
        let (connection, received): (Box<dyn Connection>, _) = match &self.http {
            None => {
                let bridge =
                    |bridge: &crate::bridge::Bridge| bridge.connect(self.key, self.identity.as_ref());
                let (stream, received) = world.of_a_bridge(&self.random, bridge)?;
                (Box::new(Session::new(stream, world.is_nats())), received)
            }
            Some(last) => {
                (Box::new(Http::open(self.dial(world)?, last.clone(), world.registry.is_none()).await?), None)
            }
        };
        Some(Client { connection, identity: self.identity.clone(), received })
    }

    /// A connection to one of the bridges; `None` if there is none.
    pub(crate) fn dial(&self, world: &World) -> Option<DuplexStream> {
        world.of_a_bridge(&self.random, |bridge| bridge.dial(self.key, &world.faults))
    }

    /// An answer that comes within `patience`, in which jumps of the clock do not count; `None` without one.
    pub(crate) async fn in_time<T>(
        &self,
        world: &World,
        patience: Duration,
        answer: impl Future<Output = Option<T>>,
    ) -> Option<T> {
        let (begun, before) = (Instant::now(), world.faults.jumped());
        let jumped = || world.faults.jumped().saturating_sub(before);
        let answer = until(|| begun + patience + jumped(), answer).await;
        answer.unwrap_or_else(|| {
            self.broken(world, &format!("no answer in {patience:?}"));
            None
        })
    }

    /// Messages that it has got, with their values as they are stored. It has asked for them at this moment, if that is
    /// known.
    ///
    /// # Errors
    /// A value is not as it has asked for it.
    pub(crate) fn stored<'a>(
        &self,
        world: &World,
        messages: &'a [KafkaMessage],
        asked: Option<Instant>,
    ) -> Result<Cow<'a, [KafkaMessage]>, String> {
        match world.registry.as_ref().filter(|_| self.decodes) {
            Some(registry) => Ok(registry.stored(messages, asked)?.into()),
            None => as_stored(messages),
        }
    }

    /// Something happened to it.
    pub(crate) fn event(&self, world: &World, event: impl FnOnce() -> String) {
        world.event(|| format!("{} {}", self.name, event()));
    }

    /// A promise to it was broken.
    pub(crate) fn broken(&self, world: &World, problem: &str) {
        world.broken(format!("{} of {}: {problem}", self.name, self.topic));
    }
}

/// A kind of clients, with a part of their addresses.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Subscriber = 1,
    Walker,
    Table,
    Producer,
    Repeater,
}

/// The size of a message in an answer, with its tag and length.
pub(crate) fn framed_len(message: &KafkaMessage) -> usize {
    let len = message.encoded_len();
    1 + prost::length_delimiter_len(len) + len
}

/// Checks that messages are no more than a client takes at a time, in bytes and number, but for a single one. 0: no bound.
pub(crate) fn check_size(messages: &[KafkaMessage], max_bytes: u32, max_records: u32) -> Result<(), String> {
    let (count, bytes) = (messages.len(), messages.iter().map(framed_len).sum::<usize>());
    let is_within = |size: usize, max: u32| max == 0 || u32::try_from(size).is_ok_and(|size| size <= max);
    if is_within(count, max_records) && (is_within(bytes, max_bytes) || count <= 1) {
        return Ok(());
    }
    Err(format!("{count} records of {bytes} bytes, at most {max_records} of {max_bytes}"))
}

/// Commands and answers on one way. A drop closes the connection.
trait Connection: Send {
    /// Sends a command, or leaves it out where the way has no such one.
    fn send(&mut self, sequence: i64, req: Req) -> BoxFuture<'_, io::Result<()>>;

    /// The next answer with the sequence of its command; `None` at the end of the connection.
    ///
    /// # Cancel safety
    /// A drop has no effect.
    fn next(&mut self) -> BoxFuture<'_, Option<(i64, Resp)>>;
}

pub(crate) struct Client {
    connection: Box<dyn Connection>,
    /// `None`: nobody in particular, who may read everything.
    identity: Option<Arc<Identity>>,
    /// `None`: the client has no quota.
    received: Option<Arc<Received>>,
}

impl Client {
    /// The longest time for which the client's quota lets it wait.
    pub(crate) fn owed(&self) -> Duration {
        self.received.as_ref().map_or(Duration::ZERO, |received| received.owed())
    }

    pub(crate) async fn send(&mut self, sequence: i64, req: Req) -> io::Result<()> {
        self.connection.send(sequence, req).await
    }

    /// The next answer with its sequence; `None` at the end of the session. Pings are answered.
    ///
    /// # Cancel safety
    /// A drop has no effect.
    pub(crate) async fn next(&mut self) -> Option<(i64, Resp)> {
        let Some(identity) = self.identity.clone() else { return self.answer().await };
        let (sequence, resp) = identity.within(self.answer()).await?;
        identity.check(messages(&resp));
        let is_end = matches!(resp, Resp::ErrorResp(_)) && identity.is_over();
        (!is_end).then_some((sequence, resp))
    }

    async fn answer(&mut self) -> Option<(i64, Resp)> {
        loop {
            let (sequence, resp) = self.connection.next().await?;
            let Resp::Control(control) = resp else {
                self.received.iter().for_each(|received| received.count(messages(&resp)));
                return Some((sequence, resp));
            };
            match control.control? {
                Control::Ping(payload) => {
                    let control = Some(Ask::Alive(payload));
                    self.send(0, Req::Control(ControlReq { control })).await.ok()?;
                }
                Control::Pong(_) => {}
                Control::Close(close) => {
                    let identity = self.identity.iter().filter(|_| close.code == UNAUTHORIZED);
                    identity.for_each(|identity| identity.check_end());
                    return None;
                }
            }
        }
    }
}

/// An error in JSON. One of plain HTTP does not say whether it is temporary.
pub(crate) fn error_of(error: &Value) -> ErrorResp {
    let name = error["reason"].as_str().unwrap_or_default().to_uppercase();
    let wait = error["retry_after_ms"].as_u64().unwrap_or_default();
    ErrorResp {
        reason: match error["unknown_outcome"] == true {
            true => Reason::UnknownOutcome.into(),
            false => Reason::from_str_name(&name).unwrap_or_default().into(),
        },
        message: error.to_string(),
        retriable: error["retriable"] == true,
        retry_after_ms: u32::try_from(wait).unwrap_or(u32::MAX),
        ..ErrorResp::default()
    }
}

/// Why records were skipped, in JSON.
pub(crate) fn cause_of(skipped: &Value) -> Cause {
    if skipped["cause"] == "lag" { Cause::Lag } else { Cause::Deleted }
}

/// An answer with an event of a subscription.
pub(crate) fn happened(event: Event) -> Resp {
    Resp::KafkaSubscriptionEvent(KafkaSubscriptionEvent { event: Some(event) })
}

/// A number in JSON; one that no place is where none is given.
pub(crate) fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or(i64::MIN)
}

fn messages(resp: &Resp) -> &[KafkaMessage] {
    match resp {
        Resp::KafkaDeliveryResp(delivery) => &delivery.messages,
        Resp::KafkaFetchResp(fetched) => &fetched.messages,
        _ => &[],
    }
}

/// The connection of a client that others can cut.
#[derive(Debug, Default)]
pub(crate) struct Cut(Mutex<CancellationToken>);

impl Cut {
    /// Cuts the connection, if there is one.
    pub(crate) fn cut(&self) {
        std::mem::take(&mut *self.0.lock()).cancel();
    }

    /// The result of a visit; `None` if its connection is cut.
    pub(crate) async fn unless_cut<T>(&self, visit: impl Future<Output = T>) -> Option<T> {
        let cut = CancellationToken::new();
        *self.0.lock() = cut.clone();
        cut.run_until_cancelled(visit).await
    }
}

/// An answer in words, without what differs between two runs.
pub(crate) fn describe(resp: &Resp) -> String {
    let mut resp = resp.clone();
    let errors: Vec<&mut ErrorResp> = match &mut resp {
        Resp::ErrorResp(error) => vec![error],
        Resp::KafkaProduceResp(produced) => {
            produced.results.iter_mut().filter_map(|result| result.error.as_mut()).collect()
        }
        _ => Vec::new(),
    };
    for error in errors {
        error.message.clear();
        error.trace_id.clear();
    }
    if let Resp::KafkaSubscriptionEvent(KafkaSubscriptionEvent { event: Some(Event::Retrying(retrying)) }) =
        &mut resp
    {
        retrying.since = 0;
        retrying.error = None;
    }
    format!("{resp:?}")
}

/// The close code of a session whose identity is over.
const UNAUTHORIZED: u32 = 3000;
