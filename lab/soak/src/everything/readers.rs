//! The kinds of clients that read.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use sluicegate_stack::http::client::{Client as Http, Request};
use tokio::time::timeout;

use super::identity::Person;
use super::probe::{Counts, Probe, STALL};
use super::stacks::{Gateway, KAFKA_REST, NATS, NATS_REST, STREAM, STREAMS, TOPIC, WAYS, has_filter};
use crate::Failure;
use crate::clients::position::{Position, Told};
use crate::clients::session::Session;
use crate::clients::source::Source;
use crate::clients::table::{Record, Table};
use crate::clients::wish::Wish;
use crate::clients::{Client, Format};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A session in protobuf, whose identity is renewed on the socket.
    Session,
    /// A table over such a session.
    Table,
    /// A session in JSON, which ends with its identity and is opened again.
    Json,
    /// Server-sent events, which end with the identity and go on by their id.
    Events,
    /// Plain HTTP, which waits at the end of the log.
    Poll,
    /// A subscription to a stream of NATS.
    Nats,
}

/// The kinds that a gateway serves, their names, and how many clients of each it has.
pub(super) fn of_gateway(gateway: &Gateway) -> impl Iterator<Item = (Kind, &'static str, usize)> {
    KINDS.into_iter().filter(|(kind, ..)| match kind {
        Kind::Session | Kind::Json => gateway.has_sessions(),
        Kind::Table | Kind::Nats => gateway.has_sessions() && gateway.has_filter(),
        Kind::Events | Kind::Poll => gateway.has_filter(),
    })
}

/// The kinds, their names, and how many clients of each a gateway has.
const KINDS: [(Kind, &str, usize); 6] = [
    (Kind::Session, "session", 20),
    (Kind::Table, "table", 10),
    (Kind::Json, "JSON session", 20),
    (Kind::Events, "events", 20),
    (Kind::Poll, "polls", 8),
    (Kind::Nats, "session on NATS", 10),
];

pub(super) struct Reader {
    gateway: Gateway,
    kind: Kind,
    number: usize,
    person: Person,
    probe: Probe,
}

impl Reader {
    pub(super) fn new(gateway: &Gateway, kind: Kind, number: usize, counts: &Arc<Counts>) -> Self {
        let person = Person::new("alice", u64::try_from(number).unwrap_or_default());
        let probe = Probe::new(counts, partitions(kind, number), kind == Kind::Table);
        Self { gateway: gateway.clone(), kind, number, person, probe }
    }

    pub(super) async fn run(mut self) -> Failure {
        let ended = match self.kind {
            Kind::Session | Kind::Table | Kind::Nats => self.subscribed(Format::Session).await,
            Kind::Json => self.subscribed(Format::Json).await,
            Kind::Events => self.subscribed(Format::Events).await,
            Kind::Poll => self.polls().await,
        };
        let why = ended.err().unwrap_or_else(|| "it has ended".into());
        format!("{:?} {} through {}: {why}", self.kind, self.number, self.gateway.way.name()).into()
    }

    /// A subscription, which is opened again where it was when its identity is over, unless it is renewed before.
    async fn subscribed(&mut self, format: Format) -> Result<(), Failure> {
        let ways = i32::try_from(WAYS.len())?;
        let wish = match self.kind {
            Kind::Nats => Wish { paths: [NATS, NATS_REST], ..Wish::of(Source::Streams(STREAMS), 1) },
            kind => {
                let is_table = kind == Kind::Table;
                Wish { is_table, ..Wish::of(Source::Topic(TOPIC.into()), ways) }
            }
        };
        let table = wish.is_table.then(Table::default);
        let mut position = Position { table, ..Position::default() };
        loop {
            let wish = Wish { is_late: true, authorization: self.authorization()?, ..wish.clone() };
            let client = Client::open(format, self.gateway.address, &wish, &position).await;
            let mut client = client.ok_or("a connection was refused")?;
            self.probe.connected()?;
            while let Some(told) = self.next(client.told()).await? {
                if let Told::Records { partition, records, .. } = told.what() {
                    records.iter().try_for_each(|record| self.take(*partition, record))?;
                }
                position.take(told);
                position.trim();
                if let Client::Session(session) = &mut client
                    && self.person.expires_soon()
                {
                    session.renew(self.person.token()?).await.ok_or("the session ended")?;
                }
            }
            if let Client::Session(Session { can_retry: true, .. }) = client {
                continue;
            }
            if format == Format::Json && client.close_code() != Some(IDENTITY_IS_OVER) {
                return Err(format!("the session ended with {:?}", client.close_code()).into());
            }
            self.person.check_end()?;
        }
    }

    fn take(&mut self, partition: i32, record: &Record) -> Result<(), Failure> {
        // JSON if it was written over plain HTTP.
        let key = std::str::from_utf8(&record.key)?.trim_matches('"');
        let name = if self.kind == Kind::Nats { key.to_owned() } else { partition.to_string() };
        self.probe.take(&name, key, &record.value)
    }

    /// Plain HTTP requests that wait at the end of a log, each with a token of its own.
    async fn polls(&mut self) -> Result<(), Failure> {
        let partition = self.number % WAYS.len();
        let mut client = Http::connect(self.gateway.address).await?;
        self.probe.connected()?;
        let mut place = "latest".to_owned();
        loop {
            self.probe.check()?;
            let log = format!("{KAFKA_REST}/topics/{TOPIC}/partitions/{partition}");
            let path = format!("{log}/records?offset={place}&timeout=2000");
            let request = Request::get(path).with("accept", "application/json");
            let request = request.with("authorization", self.authorization()?.unwrap_or_default());
            let answer = timeout(STALL, client.ask(request))
                .await
                .map_err(|_| format!("a poll takes {STALL:?}"))??;
            if answer.status != 200 {
                return Err(format!("a poll is answered by {answer:?}").into());
            }
            answer.header("sluicegate-next-offset").unwrap_or_default().clone_into(&mut place);
            for record in answer.json().as_array().into_iter().flatten() {
                let value = record.get("value").map(Value::to_string).unwrap_or_default();
                self.probe.take(&partition.to_string(), "", value.as_bytes())?;
            }
        }
    }

    /// What comes next. Meanwhile, records must come in time, and no connection may outlive its identity.
    async fn next<T>(&self, next: impl Future<Output = T>) -> Result<T, Failure> {
        let mut next = pin!(next);
        loop {
            self.person.check_open()?;
            self.probe.check()?;
            if let Ok(next) = timeout(TICK, &mut next).await {
                return Ok(next);
            }
        }
    }

    /// The header with a token of its own.
    fn authorization(&mut self) -> Result<Option<String>, Failure> {
        if !self.gateway.has_filter() {
            return Ok(None);
        }
        Ok(Some(format!("Bearer {}", self.person.token()?)))
    }
}

/// The names of the partitions of which a client gets records.
fn partitions(kind: Kind, number: usize) -> Vec<String> {
    match kind {
        Kind::Poll => vec![(number % WAYS.len()).to_string()],
        // Nobody writes to NATS through a gateway without the filter.
        Kind::Nats => (0..WAYS.len())
            .filter(|way| WAYS.get(*way).is_some_and(|way| has_filter(*way)))
            .map(|way| format!("{STREAM}.{way}"))
            .collect(),
        _ => (0..WAYS.len()).map(|partition| partition.to_string()).collect(),
    }
}

/// The code that closes a session whose identity has expired.
const IDENTITY_IS_OVER: u16 = 3000;
/// Between two looks at the clock.
const TICK: Duration = Duration::from_secs(1);
