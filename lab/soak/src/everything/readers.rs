//! The kinds of clients that read.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use sluicegate_client::nats::Update as NatsUpdate;
use sluicegate_client::{At, Client, Source, Subscribe, TableChange, Update, nats};
use sluicegate_stack::http::client::{Client as Http, Request};
use sluicegate_stack::json_socket::{JsonSocket, upgrade};
use tokio::time::timeout;

use super::identity::Person;
use super::probe::{Counts, Probe, STALL};
use super::stacks::{Gateway, KAFKA_REST, NATS, STREAM, TOPIC, WAYS, has_filter};
use super::writers::connect;
use crate::Failure;

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
            Kind::Session => self.topic().await,
            Kind::Table => self.table().await,
            Kind::Nats => self.stream().await,
            Kind::Json => self.json().await,
            Kind::Events => self.events().await,
            Kind::Poll => self.polls().await,
        };
        let why = ended.err().unwrap_or_else(|| "it has ended".into());
        format!("{} {} through {}: {why}", self.kind.name(), self.number, self.gateway.name()).into()
    }

    /// A client in protobuf, by the library of this repository. Its identity is renewed on the socket.
    async fn session(&mut self, path: &str) -> Result<Client, Failure> {
        let seed = u64::try_from(self.number)?.saturating_add(10_000);
        let client = connect(&self.gateway, path, seed).await?;
        self.probe.connected()?;
        Ok(client)
    }

    async fn topic(&mut self) -> Result<(), Failure> {
        let client = self.session("/pubsub").await?;
        let mut subscription = client.subscribe(Subscribe::new([Source::new(TOPIC).at(At::Latest)]));
        loop {
            match self.next(subscription.next()).await?.ok_or("the subscription has ended")?? {
                Update::Delivery(delivery) => {
                    let partition = delivery.partition.to_string();
                    for message in &delivery.messages {
                        self.probe.take(&partition, "", message.value.as_deref().unwrap_or_default())?;
                    }
                }
                Update::Reconnecting { error, .. } => return Err(ended(&error)),
                Update::Skipped { .. } => return Err("records are skipped".into()),
                _ => {}
            }
        }
    }

    async fn table(&mut self) -> Result<(), Failure> {
        let client = self.session("/pubsub").await?;
        let mut table = client.table(Subscribe::new([Source::new(TOPIC)]));
        loop {
            let keys = match self.next(table.next()).await?.ok_or("the table has ended")?? {
                TableChange::Keys(keys) => keys,
                TableChange::Other(Update::Reconnecting { error, .. }) => return Err(ended(&error)),
                _ => continue,
            };
            for key in keys {
                let row = table.get(&key).ok_or("a key without a record")?;
                // JSON if it was written over plain HTTP.
                let key = std::str::from_utf8(&key)?.trim_matches('"');
                let (partition, _) = key.split_once('-').ok_or("a key of another form")?;
                self.probe.take(partition, key, row.value.as_deref().unwrap_or_default())?;
            }
        }
    }

    async fn stream(&mut self) -> Result<(), Failure> {
        let client = self.session(NATS).await?;
        let subscribe = Subscribe::new([nats::Source::new(STREAM).at(At::Latest)]);
        let mut subscription = client.nats().subscribe(subscribe);
        loop {
            match self.next(subscription.next()).await?.ok_or("the subscription has ended")?? {
                NatsUpdate::Delivery(delivery) => {
                    for message in &delivery.messages {
                        self.probe.take(&message.subject, "", &message.data)?;
                    }
                }
                NatsUpdate::Reconnecting { error, .. } => return Err(ended(&error)),
                NatsUpdate::Skipped { .. } => return Err("messages are skipped".into()),
                _ => {}
            }
        }
    }

    /// Sessions in JSON, which are opened again where they were when their identity is over.
    async fn json(&mut self) -> Result<(), Failure> {
        let mut next: BTreeMap<String, i64> = BTreeMap::new();
        loop {
            let mut request = upgrade(&format!("ws://{}/pubsub", self.gateway.address));
            if let Some(authorization) = self.authorization()? {
                request.headers_mut().insert("authorization", authorization.parse()?);
            }
            let mut socket = JsonSocket::open_with(request).await;
            self.probe.connected()?;
            let subscribe = json!({"topic": TOPIC, "from": "latest", "next": next, "format": "text"});
            socket.send(json!({"id": 1, "subscribe": subscribe}).to_string()).await;
            loop {
                match self.next(socket.receive_or_close()).await? {
                    Ok(answer) => self.take_json(&mut next, &answer)?,
                    Err((IDENTITY_IS_OVER, _)) if self.gateway.has_filter() => break,
                    Err((code, reason)) => {
                        return Err(format!("the session ended with {code}: {reason}").into());
                    }
                }
            }
            self.person.check_end()?;
        }
    }

    fn take_json(&mut self, next: &mut BTreeMap<String, i64>, answer: &Value) -> Result<(), Failure> {
        if let Some(error) = answer.get("error") {
            return Err(format!("an error: {error}").into());
        }
        let subscribed = answer.get("subscribed").and_then(Value::as_array).into_iter().flatten();
        let begins = subscribed.filter_map(|subscribed| subscribed.get("partitions"));
        for offsets in begins.chain(answer.get("next")).filter_map(Value::as_object) {
            for (partition, offset) in offsets {
                next.insert(partition.clone(), offset.as_i64().unwrap_or_default());
            }
        }
        let partition = answer.get("next").and_then(Value::as_object).and_then(|next| next.keys().next());
        for message in answer.get("messages").and_then(Value::as_array).into_iter().flatten() {
            let value = message.get("value").and_then(Value::as_str).unwrap_or_default();
            self.probe.take(partition.map_or("", String::as_str), "", value.as_bytes())?;
        }
        Ok(())
    }

    /// Server-sent events, which go on by the id of the last one when their identity is over.
    async fn events(&mut self) -> Result<(), Failure> {
        let mut last: Option<String> = None;
        loop {
            let path = format!("{KAFKA_REST}/topics/{TOPIC}/events?from=latest&format=text");
            let mut request = self.request(path, "text/event-stream")?;
            if let Some(last) = &last {
                request = request.with("last-event-id", last);
            }
            let mut body = Http::connect(self.gateway.address).await?.stream(request).await?;
            if body.head.status != 200 {
                return Err(format!("events are answered by {:?}", body.head).into());
            }
            self.probe.connected()?;
            let mut unread = String::new();
            while let Some(part) = self.next(body.next()).await?? {
                unread.push_str(std::str::from_utf8(&part)?);
                while let Some((event, rest)) = unread.split_once("\n\n") {
                    last = self.take_event(event)?.or(last);
                    unread = rest.to_owned();
                }
            }
            self.person.check_end()?;
        }
    }

    /// Takes an event, and gives its id.
    fn take_event(&mut self, event: &str) -> Result<Option<String>, Failure> {
        let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
        if let (None, Some(data)) = (field("event: "), field("data: ")) {
            let data: Value = serde_json::from_str(data)?;
            let partition = data.get("partition").map(Value::to_string).unwrap_or_default();
            let value = data.get("value").and_then(Value::as_str).unwrap_or_default();
            self.probe.take(&partition, "", value.as_bytes())?;
        }
        Ok(field("id: ").map(str::to_owned))
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
            let request = self.request(path, "application/json")?;
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

    /// A request with a token of its own.
    fn request(&mut self, path: String, accept: &str) -> Result<Request, Failure> {
        let request = Request::get(path).with("accept", accept);
        Ok(match self.authorization()? {
            Some(authorization) => request.with("authorization", authorization),
            None => request,
        })
    }

    /// The header with a token of its own.
    fn authorization(&mut self) -> Result<Option<String>, Failure> {
        if !self.gateway.has_filter() {
            return Ok(None);
        }
        Ok(Some(format!("Bearer {}", self.person.token()?)))
    }
}

fn ended(error: &impl std::fmt::Display) -> Failure {
    format!("the session ended: {error}").into()
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
