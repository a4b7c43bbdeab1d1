//! Records of a log whose registry is in memory: known, unknown, and silent.

use futures_util::future::join_all;
use prost::encoding::message;
use sluicegate_backend::DecodeMessages as _;
use sluicegate_fair_share::ClientKey;
use sluicegate_protocol::wire::number::MESSAGES;
use sluicegate_protocol::{Header, KafkaMessage};
use sluicegate_shared_log::{Ends, Limits, SharedLog};
use tokio::time::sleep;

use super::*;
use crate::testing::FakeRegistry;

const UNANSWERED: &str = "the schema registry does not answer";

/// A cluster whose records are decoded.
struct Cluster {
    server: Arc<FakeRegistry>,
    decoding: Decoding,
}

impl Cluster {
    fn new(gives_bytes: bool) -> Self {
        // Schema 1 is Avro's `string`, each of its other numbers is unknown.
        let answers = [("/schemas/ids/1", r#"{"schema":"\"string\""}"#.to_owned())].into();
        let latency = Mutex::new(Duration::from_millis(100));
        let server = Arc::new(FakeRegistry { answers, latency, ..FakeRegistry::default() });
        let limits = Limits { max_bytes: 1 << 20, max_age: Duration::from_secs(60) };
        let logs = SharedLog::new(limits).add_cluster();
        let decoding = Decoding::new(server.schemas(gives_bytes), logs, DecodeMetrics::default());
        Self { server, decoding }
    }

    async fn decode(&self, raw: &Chunk) -> Result<Vec<String>, CommandError> {
        self.decode_of(Some(log()), raw).await
    }

    async fn decode_of(&self, log: Option<LogVersion>, raw: &Chunk) -> Result<Vec<String>, CommandError> {
        let decoded =
            self.decoding.decode(log.as_ref(), raw.clone(), fetch(), &ClusterRate::unlimited()).await;
        Ok(shown(decoded?))
    }
}

fn log() -> LogVersion {
    (LogKey { topic: "t".into(), incarnation: 1, partition: 0, committed: false }, 5)
}

fn fetch() -> Fetch {
    Fetch {
        offset: 0,
        max_bytes: 1 << 20,
        wait: Duration::ZERO,
        min_bytes: 0,
        max_records: 0,
        fill: false,
        committed: false,
        decode: true,
        source: ClientKey::UNKNOWN,
    }
}

/// Records with these values, one after the other.
fn raw(values: &[&[u8]]) -> Chunk {
    let mut messages = Vec::new();
    for (offset, value) in (0..).zip(values) {
        let value = Some(Bytes::copy_from_slice(value));
        message::encode(MESSAGES, &KafkaMessage { offset, value, ..Default::default() }, &mut messages);
    }
    let (count, next_offset) = (values.len(), values.len() as i64);
    Chunk { messages: messages.into(), count, next_offset, ..Chunk::nothing(0, Ends::UNKNOWN) }
}

/// The value of each record, and why it is as it is stored.
fn shown(mut chunk: Chunk) -> Vec<String> {
    let mut shown = Vec::new();
    while let Some((message, rest)) = chunk.first() {
        let KafkaMessage { value, value_schema, not_decoded, .. } = message;
        let schema = value_schema.map(|schema| schema.id);
        let value = String::from_utf8_lossy(&value.unwrap_or_default()).into_owned();
        shown.push(match schema {
            _ if !not_decoded.is_empty() => not_decoded,
            Some(id) => format!("{id}: {value}"),
            None => value,
        });
        chunk.advance_to(rest);
    }
    shown
}

/// Schema 1, `hi`; a value without a schema; schema 2, which is unknown; schema 1 with bytes that it does not describe.
const VALUES: [&[u8]; 4] = [b"\0\0\0\0\x01\x04hi", b"{}", b"\0\0\0\0\x02?", b"\0\0\0\0\x01\x04h"];

#[tokio::test(start_paused = true)]
async fn values_with_a_schema_are_decoded_once_for_all() {
    let cluster = Cluster::new(false);
    let raw = raw(&VALUES);
    let all = join_all((0..50).map(|_| cluster.decode(&raw))).await;
    for decoded in all {
        let decoded = decoded.unwrap();
        assert_eq!(decoded[..3], ["1: \"hi\"", "{}", "schema 2 is not in the registry"]);
        assert_eq!(decoded[3], "at byte 1: 2 bytes are needed, and 1 are left");
    }
    assert_eq!(cluster.server.asked.lock().len(), 2);
    assert_eq!(cluster.decoding.metrics.failures(), 2);
    // Others find them without a question, and so they do with what was read since, if its schemas are known.
    let recent =
        |read: Option<&Chunk>, log: LogVersion| cluster.decoding.recent(&log, fetch(), |_| read.cloned());
    assert_eq!(recent(None, log()).unwrap().count, 4);
    let newer = (log().0, 6);
    assert_eq!(recent(Some(&raw), newer).map(shown).unwrap()[0], "1: \"hi\"");
    // Another leader can have other records.
    assert!(recent(None, (log().0, 7)).is_none());
}

#[tokio::test(start_paused = true)]
async fn records_wait_for_a_registry_that_is_down() {
    let cluster = Cluster::new(false);
    *cluster.server.is_down.lock() = true;
    let error = cluster.decode(&raw(&VALUES)).await.unwrap_err();
    assert_eq!((error.fault, error.message.as_str()), (Fault::Transient, UNANSWERED));
    // Records before the first that needs it do not.
    assert_eq!(cluster.decode(&raw(&[VALUES[1], VALUES[0]])).await.unwrap(), ["{}"]);
    *cluster.server.is_down.lock() = false;
    sleep(Duration::from_secs(2)).await;
    assert_eq!(cluster.decode(&raw(&VALUES)).await.unwrap()[0], "1: \"hi\"");
    // A known schema outlives the registry.
    *cluster.server.is_down.lock() = true;
    assert_eq!(cluster.decode_of(None, &raw(&[VALUES[0]])).await.unwrap(), ["1: \"hi\""]);
}

#[tokio::test(start_paused = true)]
async fn records_come_as_they_are_stored_if_that_is_wanted() {
    let cluster = Cluster::new(true);
    *cluster.server.is_down.lock() = true;
    assert_eq!(cluster.decode(&raw(&VALUES[..2])).await.unwrap(), [UNANSWERED, "{}"]);
    *cluster.server.is_down.lock() = false;
    sleep(Duration::from_secs(2)).await;
    // They were not kept like that.
    assert_eq!(cluster.decode(&raw(&VALUES[..2])).await.unwrap(), ["1: \"hi\"", "{}"]);
}

#[tokio::test(start_paused = true)]
async fn records_after_a_range_without_some_are_given() {
    let cluster = Cluster::new(false);
    // The fetch, from offset 0 on, has waited at offset 3.
    let values = raw(&[b"0", b"1", b"2", b"3"]);
    let raw = assemble(&[values], 3, fetch().size(), first_entry);
    assert_eq!(cluster.decode(&raw).await.unwrap(), ["3"]);
}

#[tokio::test(start_paused = true)]
async fn silent_registry_is_waited_for_once() {
    let values: Vec<Vec<u8>> = (0..40_u8).map(|id| vec![0, 0, 0, 0, 2 + id % 4, 0]).collect();
    let values: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
    for (gives_bytes, times) in [(true, [1, 0]), (false, [1, 1])] {
        let cluster = Cluster::new(gives_bytes);
        *cluster.server.latency.lock() = Duration::from_secs(5);
        for seconds in times {
            let began = Instant::now();
            let decoded = cluster.decode(&raw(&values)).await;
            // A turn of a thread ends after some real time: on a busy machine, with fewer records.
            let is_stored =
                |decoded: Vec<String>| !decoded.is_empty() && decoded.iter().all(|value| value == UNANSWERED);
            assert_eq!(decoded.is_ok_and(is_stored), gives_bytes);
            assert_eq!(began.elapsed(), Duration::from_secs(seconds), "{gives_bytes}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn unknown_ids_delay_few_records_at_a_time() {
    let cluster = Cluster::new(false);
    let values: Vec<Vec<u8>> = (2..100_u8).map(|id| vec![0, 0, 0, 0, id, 0]).collect();
    let values: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
    let began = Instant::now();
    let decoded = cluster.decode(&raw(&values)).await.unwrap();
    assert!((2..=4).contains(&decoded.len()), "{decoded:?}");
    assert!(began.elapsed() <= PATIENCE, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn key_stays_as_it_is_stored_beside_its_json() {
    let cluster = Cluster::new(false);
    let key = Bytes::from_static(b"\x04id");
    let header = Header { key: "__key_schema_id".into(), value: Some(Bytes::from_static(&[0, 0, 0, 0, 1])) };
    let record = KafkaMessage { key: Some(key.clone()), headers: vec![header], ..Default::default() };
    let mut messages = Vec::new();
    message::encode(MESSAGES, &record, &mut messages);
    let raw = Chunk { messages: messages.into(), count: 1, next_offset: 1, ..raw(&[]) };
    let decoded = cluster.decoding.decode(None, raw, fetch(), &ClusterRate::unlimited()).await.unwrap();
    let (message, _) = decoded.first().unwrap();
    assert_eq!((message.key, message.key_json), (Some(key), Bytes::from("\"id\"")));
    assert_eq!(message.key_schema.map(|schema| schema.id), Some(1));
}
