//! Readers, and calls to them.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, pending, ready};
use futures_util::{FutureExt, StreamExt};
use prost::Message;
use sluicegate_fair_share::ClientKey;
use sluicegate_protocol::KafkaFetchResp;
use sluicegate_reader::{Config, DEFAULT_MAX_BYTES, EncoderPool, ReadError, Reader, SkipMeter};
use sluicegate_shared_log::{AnswerReservation, Chunk, Ends, Fetch, Limits, Log, SeenEnds, SharedLog};

/// Something about the brokers of a test that changes during it.
pub(crate) fn switch() -> &'static AtomicBool {
    Box::leak(Box::default())
}

/// For calls that wait on purpose.
pub(crate) const PATIENT: (&str, &str) = ("socket.timeout.ms", "20000");

/// A client with an address of its own.
pub(crate) fn source(last: u8) -> ClientKey {
    ClientKey::from(IpAddr::from([192, 0, 2, last]))
}

/// An address that refuses connections.
pub(crate) fn nowhere() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address")
}

/// A reader of the cluster of these brokers, whose calls take 2 s at most.
pub(crate) fn reader(brokers: &[SocketAddr]) -> Reader {
    reader_with(brokers, &[])
}

pub(crate) fn reader_with(brokers: &[SocketAddr], properties: &[(&str, &str)]) -> Reader {
    let brokers: Vec<String> = brokers.iter().map(ToString::to_string).collect();
    let logs = SharedLog::new(Limits { max_bytes: 1 << 24, max_age: Duration::from_secs(30) });
    Reader::new(config(&brokers.join(","), properties), logs.add_cluster(), EncoderPool::new())
}

pub(crate) fn config(brokers: &str, properties: &[(&str, &str)]) -> Config {
    let usual = [
        ("bootstrap.servers", brokers),
        ("client.rack", "here"),
        ("socket.timeout.ms", "2000"),
        ("socket.connection.setup.timeout.ms", "900"),
        ("reconnect.backoff.ms", "10"),
        ("reconnect.backoff.max.ms", "50"),
    ];
    let properties = usual.iter().chain(properties);
    let properties: BTreeMap<String, String> =
        properties.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Config::from_properties(&properties).expect("a usable configuration")
}

pub(crate) fn at(offset: i64) -> Fetch {
    waiting(offset, Duration::ZERO)
}

pub(crate) fn waiting(offset: i64, wait: Duration) -> Fetch {
    let (max_bytes, min_bytes, max_records) = (DEFAULT_MAX_BYTES, 0, 0);
    let (fill, committed, decode, source) = (false, false, false, ClientKey::default());
    Fetch { offset, max_bytes, wait, min_bytes, max_records, fill, committed, decode, source }
}

/// Partition 0 of a topic.
pub(crate) fn log(topic: &str) -> Log<'_> {
    Log { topic, partition: 0 }
}

pub(crate) trait Calls {
    async fn read_from(&self, log: Log<'_>, fetch: Fetch, skips: &dyn SkipMeter) -> Result<Chunk, ReadError>;

    /// Fetches from partition 0 of a topic.
    async fn read(&self, topic: &str, fetch: Fetch) -> Result<Chunk, ReadError>;

    /// The offset of the first record since a time in partition 0 of a topic, or its end for -1.
    async fn list(&self, topic: &str, timestamp: i64) -> Result<i64, ReadError>;

    /// Waits for a record of topic `t`, for as long as it takes.
    fn wait_at(&self, partition: i32, offset: i64) -> impl Future<Output = Option<Ends>> + Send;
}

impl Calls for Reader {
    async fn read_from(&self, log: Log<'_>, fetch: Fetch, skips: &dyn SkipMeter) -> Result<Chunk, ReadError> {
        self.fetch(log, fetch, skips, &mut Room).await
    }

    async fn read(&self, topic: &str, fetch: Fetch) -> Result<Chunk, ReadError> {
        self.read_from(log(topic), fetch, &()).await
    }

    async fn list(&self, topic: &str, timestamp: i64) -> Result<i64, ReadError> {
        let asked = [(log(topic), timestamp)];
        let mut listed = pin!(self.list_offsets(ClientKey::default(), &asked, false));
        listed.next().await.expect("an answer").1.map(|listed| listed.offset)
    }

    fn wait_at(&self, partition: i32, offset: i64) -> impl Future<Output = Option<Ends>> + Send {
        self.wait_for_records(Log { topic: "t", partition }, offset, false, None, SeenEnds::ALL)
    }
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

/// The one-byte values of an answer's records.
pub(crate) fn values(fetched: &Chunk) -> String {
    let KafkaFetchResp { messages, .. } = KafkaFetchResp::decode(fetched.messages.clone()).expect("protobuf");
    assert_eq!(messages.len(), fetched.count);
    messages.iter().map(|message| char::from(message.value.as_ref().expect("a value")[0])).collect()
}

/// Waits until a condition holds, for up to 20 s.
#[track_caller]
pub(crate) fn until(condition: impl Fn() -> bool) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !condition() {
            assert!(Instant::now() < deadline, "the condition at {caller} does not hold");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// An error of a cluster that can be there again soon, with causes that contain `want`.
#[track_caller]
pub(crate) fn check_outage(error: &ReadError, want: &str) {
    let text = error.with_causes();
    assert!(text.contains(want), "{text}, expected: {want}");
    assert!(error.retriable() && error.is_unavailable(), "{text}");
}
