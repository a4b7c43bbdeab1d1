//! The kinds of clients that read.

mod events;
mod json;
mod poll;
mod session;

use std::sync::Arc;

use super::identity::Person;
use super::probe::{Counts, Probe};
use super::stacks::{Gateway, STREAM, WAYS, has_filter};
use crate::Failure;

/// A kind of client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Table => "table",
            Self::Json => "JSON session",
            Self::Events => "events",
            Self::Poll => "polls",
            Self::Nats => "session on NATS",
        }
    }
}

/// The kinds that a gateway serves, and how many clients of each it has.
pub(super) fn of_gateway(gateway: &Gateway) -> impl Iterator<Item = (Kind, usize)> {
    KINDS.into_iter().filter(|(kind, _)| match kind {
        Kind::Session | Kind::Json => gateway.has_sessions(),
        Kind::Table | Kind::Nats => gateway.has_sessions() && gateway.has_filter(),
        Kind::Events | Kind::Poll => gateway.has_filter(),
    })
}

/// The kinds, and how many clients of each a gateway has.
const KINDS: [(Kind, usize); 6] = [
    (Kind::Session, 20),
    (Kind::Table, 10),
    (Kind::Json, 20),
    (Kind::Events, 20),
    (Kind::Poll, 8),
    (Kind::Nats, 10),
];

/// A client of a kind.
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

    /// Reads until something is wrong.
    pub(super) async fn run(mut self) -> Failure {
        let ended = match self.kind {
            Kind::Session => session::topic(&mut self).await,
            Kind::Table => session::table(&mut self).await,
            Kind::Nats => session::stream(&mut self).await,
            Kind::Json => json::read(&mut self).await,
            Kind::Events => events::read(&mut self).await,
            Kind::Poll => poll::read(&mut self).await,
        };
        let why = ended.err().unwrap_or_else(|| "it has ended".into());
        format!("{} {} through {}: {why}", self.kind.name(), self.number, self.gateway.name()).into()
    }

    /// Fails if records do not come in time, or if the connection outlives its identity.
    fn check(&self) -> Result<(), Failure> {
        self.probe.check()?;
        if self.gateway.has_filter() { self.person.check_open() } else { Ok(()) }
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
        Kind::Poll => vec![poll::partition(number).to_string()],
        // Nobody writes to NATS through a gateway without the filter.
        Kind::Nats => (0..WAYS.len())
            .filter(|way| WAYS.get(*way).is_some_and(|way| has_filter(*way)))
            .map(|way| format!("{STREAM}.{way}"))
            .collect(),
        _ => (0..WAYS.len()).map(|partition| partition.to_string()).collect(),
    }
}
