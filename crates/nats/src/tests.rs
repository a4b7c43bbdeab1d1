//! Reads from a real server, and writes to it.

mod changes;
mod outages;
mod reads;
mod secured;
mod waits;
mod walks;
mod writes;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::pending;
use prost::Message as _;
use serde_json::{Value, json};
use sluicegate_protocol::{KafkaFetchResp, KafkaMessage};
use sluicegate_shared_log::{Limits, SharedLog};
use sluicegate_stack::nats::{Nats as Server, Streams};
use sluicegate_telemetry::metrics::Metrics;
use tokio::time::{sleep, timeout};

use super::*;

/// A server with JetStream, and the bridge's side of it.
struct Case {
    server: Server,
    streams: Streams,
    nats: Arc<Nats>,
    shared: SharedLog,
    /// Ends waits for reports of writes.
    due: CancellationToken,
}

impl Case {
    async fn start() -> Self {
        Self::start_with("", |_| {}).await
    }

    /// With `more` in the server's configuration, and a changed configuration of the bridge.
    async fn start_with(more: &str, change: impl FnOnce(&mut ClusterConfig)) -> Self {
        let server = Server::jetstream(more).await.unwrap();
        let streams = Streams::connect(server.client()).await.unwrap();
        let (nats, shared) = nats(&server, change);
        Self { server, streams, nats, shared, due: CancellationToken::new() }
    }

    /// Where the bridge's user cannot publish to `denied`, and no request ends by its time alone.
    async fn without(denied: &str) -> Self {
        let users = format!(
            r#"authorization {{ users: [
                {{ user: u, password: p, permissions: {{ publish: {{ deny: ["{denied}"] }} }} }},
                {{ user: admin, password: a }}
            ] }}
            no_auth_user: admin"#
        );
        let change = |config: &mut ClusterConfig| {
            (config.credentials, config.request_timeout) = (password("p"), Duration::from_secs(600));
        };
        Self::start_with(&users, change).await
    }

    /// With a stream `S` of `count` messages.
    async fn of(count: u32) -> Self {
        let case = Self::start().await;
        case.stream("S", count).await;
        case
    }

    /// A stream with `count` messages, whose data are their sequences.
    async fn stream(&self, name: &str, count: u32) {
        self.streams.create(name, json!({})).await.unwrap();
        self.write(name, 1..=count).await;
    }

    async fn write(&self, stream: &str, data: impl IntoIterator<Item = u32>) {
        let data = data.into_iter().map(|number| Bytes::from(number.to_string()));
        self.streams.write(&format!("{stream}.a"), data).await.unwrap();
    }

    async fn call(&self, call: &str, request: Value) -> Value {
        self.streams.call(call, &request).await.unwrap()
    }

    /// Creates the stream `S` again.
    async fn recreate(&self) {
        self.call("STREAM.DELETE.S", json!({})).await;
        self.streams.create("S", json!({})).await.unwrap();
    }

    /// Deletes messages one by one.
    async fn delete(&self, stream: &str, sequences: &[i64]) {
        for sequence in sequences {
            self.call(&format!("STREAM.MSG.DELETE.{stream}"), json!({ "seq": sequence })).await;
        }
    }

    async fn fetch(&self, stream: &str, how: Fetch) -> Result<Chunk, CommandError> {
        fetch(&self.nats, stream, how).await
    }

    async fn read(&self, stream: &str, offset: i64) -> Result<Chunk, CommandError> {
        self.fetch(stream, at(offset)).await
    }

    /// The messages from `offset` to the end of the stream, one fetch after the other.
    async fn messages(&self, stream: &str, offset: i64) -> Vec<KafkaMessage> {
        let (mut next, mut found) = (offset, Vec::new());
        loop {
            let fetched = self.read(stream, next).await.unwrap();
            found.extend(messages(&fetched));
            if fetched.next_offset == next {
                assert_eq!(next, fetched.ends.end);
                return found;
            }
            next = fetched.next_offset;
        }
    }

    /// Their sequences.
    async fn walk(&self, stream: &str, offset: i64) -> Vec<i64> {
        self.messages(stream, offset).await.iter().map(|message| message.offset).collect()
    }

    /// Fetches on a task of its own, and waits there at the end of the stream.
    async fn wait(&self, stream: &str, how: Fetch) -> Waiting {
        let (nats, stream) = (Arc::clone(&self.nats), stream.to_owned());
        let before = self.shared.stats().waiters;
        let waiting = tokio::spawn(async move { fetch(&nats, &stream, how).await });
        until(|| self.shared.stats().waiters > before).await;
        waiting
    }

    /// The same of a wait at `offset`, until a message there will be noticed.
    async fn watch(&self, stream: &str, offset: i64) -> Waiting {
        let waiting = self.wait(stream, waiting(offset)).await;
        until(|| self.nats.is_watched(log(stream), offset, false)).await;
        waiting
    }

    /// Waits until so many consumers follow the stream.
    async fn consumers(&self, stream: &str, count: usize) {
        let call = format!("CONSUMER.NAMES.{stream}");
        until_some(async || (self.call(&call, json!({})).await["total"] == count).then_some(())).await;
    }

    /// Lets the first consumer of stream `S` deliver messages of subject `S.b` alone, as others can.
    async fn filter_consumer(&self) {
        let list = self.call("CONSUMER.LIST.S", json!({})).await;
        let consumer = &list["consumers"][0];
        let (name, mut config) = (consumer["name"].as_str().unwrap(), consumer["config"].clone());
        config["filter_subject"] = "S.b".into();
        let call = format!("CONSUMER.CREATE.S.{name}.S.b");
        self.call(&call, json!({ "stream_name": "S", "config": config })).await;
    }
}

type Waiting = tokio::task::JoinHandle<Result<Chunk, CommandError>>;

async fn fetch(nats: &Nats, stream: &str, fetch: Fetch) -> Result<Chunk, CommandError> {
    within(nats.fetch(log(stream), fetch, &ClusterRate::unlimited(), &mut Room)).await
}

/// Room for any answer, for as long as a fetch waits.
struct Room;

impl AnswerReservation for Room {
    fn wait(&mut self, _: usize) -> BoxFuture<'_, ()> {
        pending().boxed()
    }

    fn refill(&mut self) -> BoxFuture<'_, bool> {
        ready(true).boxed()
    }
}

/// A cluster on the server, and the log that it keeps messages in.
fn nats(server: &Server, change: impl FnOnce(&mut ClusterConfig)) -> (Arc<Nats>, SharedLog) {
    let mut config = config(server);
    change(&mut config);
    writing(&config, Metrics::default().writes("test"))
}

/// The same with these metrics of writes.
fn writing(config: &ClusterConfig, writes: WriteMetrics) -> (Arc<Nats>, SharedLog) {
    let shared = SharedLog::new(Limits { max_bytes: 64 << 20, max_age: Duration::from_secs(60) });
    (
        Arc::new(Nats::new(
            "test",
            config,
            shared.add_cluster(),
            Metrics::default().nats("test"),
            Some(writes),
        )),
        shared,
    )
}

fn password(password: &str) -> Credentials {
    Credentials::Password { user: "u".to_owned(), password: password.to_owned() }
}

fn config(server: &Server) -> ClusterConfig {
    ClusterConfig { servers: vec![server.client().to_string().parse().unwrap()], ..testing::config() }
}

fn log(stream: &str) -> Log<'_> {
    Log { topic: stream, partition: 0 }
}

fn at(offset: i64) -> Fetch {
    Fetch {
        offset,
        max_bytes: 64 * 1024,
        wait: Duration::ZERO,
        min_bytes: 0,
        max_records: 0,
        fill: false,
        committed: false,
        decode: false,
        source: ClientKey::UNKNOWN,
    }
}

/// The same, with a wait at the end of the stream.
fn waiting(offset: i64) -> Fetch {
    Fetch { wait: Duration::from_secs(30), ..at(offset) }
}

fn messages(fetched: &Chunk) -> Vec<KafkaMessage> {
    let KafkaFetchResp { messages, .. } = KafkaFetchResp::decode(fetched.messages.clone()).unwrap();
    assert_eq!(messages.len(), fetched.count);
    messages
}

fn sequences(fetched: &Chunk) -> Vec<i64> {
    messages(fetched).iter().map(|message| message.offset).collect()
}

fn data(fetched: &Chunk) -> Vec<String> {
    data_of(&messages(fetched))
}

/// The data of each message as text.
fn data_of(messages: &[KafkaMessage]) -> Vec<String> {
    let text = |message: &KafkaMessage| String::from_utf8(message.value.clone().unwrap().into()).unwrap();
    messages.iter().map(text).collect()
}

/// Ends a test that hangs: each takes seconds where nothing else runs.
async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(120), future).await.expect("an end in time")
}

async fn until(condition: impl Fn() -> bool) {
    until_some(async || condition().then_some(())).await;
}

async fn until_some<T>(mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            sleep(POLL).await;
        }
    };
    within(found).await
}

const POLL: Duration = Duration::from_millis(5);
