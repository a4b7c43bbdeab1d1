//! Writes that a server stores.

mod deaths;
mod lost;
mod once;
mod refused;

use std::net::IpAddr;

use sluicegate_backend::command::Header;
use sluicegate_backend::{Dedup, DeliveryReport, Written};

use super::*;

impl Case {
    /// Hands records over, and waits for their reports.
    async fn produce(&self, records: Vec<Record>) -> Vec<DeliveryReport> {
        within(hand_over(&self.nats, records, &self.due).await.reports).await
    }

    async fn produce_one(&self, record: Record) -> DeliveryReport {
        self.produce(vec![record]).await.remove(0)
    }

    /// A server with a stream `S` of one message, which the writer knows for as long as the test lasts.
    async fn writing(change: impl FnOnce(&mut ClusterConfig)) -> Self {
        let mut case = Self::start_with("", change).await;
        case.stream("S", 0).await;
        case.keep_streams();
        assert_eq!(case.produce_one(record("S.a", "1")).await, written(1));
        case
    }

    /// Lets the writer keep what it knows of streams.
    fn keep_streams(&mut self) {
        let writer = Arc::get_mut(&mut self.nats).unwrap().writer.as_mut();
        writer.unwrap().fresh = Duration::from_secs(600);
    }

    /// The messages of a stream.
    async fn stored(&self, stream: &str) -> Vec<KafkaMessage> {
        self.messages(stream, 1).await
    }
}

/// Hands records over to a server that can be reached.
async fn hand_over<'a>(nats: &'a Nats, records: Vec<Record>, due: &'a CancellationToken) -> Enqueued<'a> {
    within(enqueue(nats, ClientKey::default(), records, due)).await.unwrap()
}

async fn enqueue<'a>(
    nats: &'a Nats,
    source: ClientKey,
    records: Vec<Record>,
    due: &'a CancellationToken,
) -> Result<Enqueued<'a>, CommandError> {
    let errors = vec![None; records.len()];
    nats.enqueue(source, records, errors, due).await
}

fn record(subject: &str, data: impl Into<Bytes>) -> Record {
    Record {
        topic: "S".to_owned(),
        key: Some(subject.to_owned().into()),
        value: Some(data.into()),
        ..Record::default()
    }
}

/// Records whose data are their numbers.
fn numbered(numbers: impl IntoIterator<Item = u32>) -> Vec<Record> {
    numbers.into_iter().map(|number| record("S.a", number.to_string())).collect()
}

fn header(key: &str, value: &str) -> Header {
    Header { key: key.to_owned(), value: Some(value.to_owned().into()) }
}

fn with_id(id: &str, record: Record) -> Record {
    Record { headers: vec![header("Nats-Msg-Id", id)], ..record }
}

fn written(offset: i64) -> DeliveryReport {
    Ok(Written { offset, timestamp: -1, ..Written::default() })
}

fn is_unknown(report: &DeliveryReport) -> bool {
    matches!(report, Err(error) if error.fault == Fault::UnknownOutcome { retriable: true })
}

#[tokio::test]
async fn commands_are_published_in_the_order_in_which_they_are_enqueued() {
    const COMMANDS: u32 = 10;
    // More messages than a task publishes before others have a turn.
    const RECORDS: u32 = 200;
    let case = Case::of(0).await;
    case.stream("T", 0).await;
    let mut reports = Vec::new();
    for command in 0..COMMANDS {
        let mut records = numbered(command * RECORDS..(command + 1) * RECORDS);
        for record in records.iter_mut().skip(1).step_by(2) {
            (record.topic, record.key) = ("T".to_owned(), Some("T.a".into()));
        }
        let enqueued = hand_over(&case.nats, records, &case.due).await;
        assert_eq!(enqueued.queued, RECORDS as usize);
        reports.push((command, enqueued.reports));
    }
    // The last first: reports do not depend on who waits for them.
    for (command, reports) in reports.into_iter().rev() {
        let places = (0..RECORDS).map(|number| written(i64::from(command * RECORDS + number) / 2 + 1));
        assert_eq!(within(reports).await, places.collect::<Vec<_>>());
    }
    for (stream, first) in [("S", 0), ("T", 1)] {
        let stored = case.stored(stream).await;
        let want = (first..COMMANDS * RECORDS).step_by(2).map(|number| number.to_string());
        assert_eq!(data_of(&stored), want.collect::<Vec<_>>(), "{stream}");
    }
    assert!(!case.nats.has_queued_records());
}

#[tokio::test]
async fn subject_headers_and_payload_are_stored() {
    let case = Case::of(0).await;
    let headers = vec![header("b", "2"), header("a", "ü"), header("b", "1")];
    let full = Record { headers: headers.clone(), ..record("S.eu.7", &b"\x00\xff"[..]) };
    let empty = Record { value: None, partition: Some(-1), ..record("S.b", "") };
    assert_eq!(case.produce(vec![full, empty]).await, [written(1), written(2)]);
    let stored = case.stored("S").await;
    let keys: Vec<&[u8]> = stored.iter().map(|message| message.key.as_deref().unwrap()).collect();
    assert_eq!(keys, [b"S.eu.7", &b"S.b"[..]]);
    assert_eq!(stored[0].value.as_deref(), Some(&b"\x00\xff"[..]));
    assert_eq!(stored[1].value.as_deref(), Some(&b""[..]));
    let headers = stored[0].headers.iter().cloned();
    let headers: Vec<_> = headers.map(|header| Header { key: header.key, value: header.value }).collect();
    assert_eq!(headers, [header("a", "ü"), header("b", "2"), header("b", "1")]);
    assert_eq!(stored[1].headers, [], "no header of the bridge");
}

#[tokio::test]
async fn message_with_a_known_id_is_not_stored_again() {
    let case = Case::start().await;
    case.streams.create("S", json!({ "duplicate_window": 60_000_000_000_u64 })).await.unwrap();
    let report = |offset, is_duplicate| {
        let dedup =
            Some(Dedup { is_duplicate, window: Duration::from_secs(60), in_order: false, last: None });
        Ok(Written { offset, timestamp: -1, dedup, ..Written::default() })
    };
    let records = || vec![with_id("x", record("S.a", "1")), with_id("y", record("S.a", "2"))];
    assert_eq!(case.produce(records()).await, [report(1, false), report(2, false)]);
    assert_eq!(case.produce(records()).await, [report(1, true), report(2, true)]);
    let twice = vec![with_id("z", record("S.a", "3")), with_id("z", record("S.b", "4"))];
    assert_eq!(case.produce(twice).await, [report(3, false), report(3, true)]);
    assert_eq!(data_of(&case.stored("S").await), ["1", "2", "3"]);
}

#[tokio::test]
async fn records_with_an_error_are_not_sent() {
    let case = Case::of(0).await;
    let (due, denied) = (CancellationToken::new(), CommandError::forbidden(0, "not granted"));
    let errors = vec![None, Some(denied.clone()), None];
    let enqueued =
        within(case.nats.enqueue(ClientKey::default(), numbered(1..=3), errors, &due)).await.unwrap();
    assert_eq!(enqueued.queued, 2);
    assert_eq!(within(enqueued.reports).await, [written(1), Err(denied.clone()), written(2)]);
    // Without another one, no connection is needed.
    let (nats, _shared) =
        nats(&case.server, |config| config.credentials = Credentials::NKey("no seed".to_owned()));
    let enqueued = nats.enqueue(ClientKey::default(), numbered([1]), vec![Some(denied.clone())], &due);
    assert_eq!(within(within(enqueued).await.unwrap().reports).await, [Err(denied)]);
    let error = within(enqueue(&nats, ClientKey::default(), numbered([1]), &due)).await.err().unwrap();
    assert_eq!(error.fault, Fault::Unreachable { retriable: false });
    within(nats.prepare_writes()).await;
    assert!(!nats.writer.as_ref().unwrap().is_connected());
}

#[tokio::test]
async fn message_that_disconnects_readers_does_not_disconnect_a_prepared_writer() {
    let case = Case::of(0).await;
    case.streams.write_raw(b"S.a", b"NATS/1.0\r\na: caf\xe9\r\n\r\n", b"odd").unwrap();
    within(case.nats.prepare_writes()).await;
    assert_eq!(case.walk("S", 1).await, [1]);
    assert!(case.nats.writer.as_ref().unwrap().is_connected());
    assert_eq!(case.produce(numbered([2])).await, [written(2)]);
}

#[tokio::test]
async fn cluster_without_a_writer_is_read_only() {
    let case = Case::start().await;
    let config = config(&case.server);
    let nats = Nats::new("test", &config, case.shared.add_cluster(), Metrics::default().nats("test"), None);
    let due = CancellationToken::new();
    let error = enqueue(&nats, ClientKey::default(), numbered([1]), &due).await.err().unwrap();
    assert_eq!(error.fault, Fault::Rejected);
    within(nats.prepare_writes()).await;
    within(nats.end_writes(Instant::now())).await;
    assert!(!nats.has_queued_records());
}

fn source(number: u8) -> ClientKey {
    ClientKey::from(IpAddr::from([10, 0, 0, number]))
}

#[tokio::test]
async fn client_that_fills_the_queue_leaves_room_for_others() {
    let mut case = Case::start().await;
    let metrics = Metrics::default().writes("test");
    (case.nats, case.shared) =
        writing(&ClusterConfig { queue_records: 100, ..config(&case.server) }, metrics.clone());
    case.stream("S", 0).await;
    case.keep_streams();
    assert!(case.produce_one(record("S.a", "")).await.is_ok());
    case.server.process.freeze();
    let due = CancellationToken::new();
    let greedy = within(enqueue(&case.nats, source(1), numbered(0..200), &due)).await.unwrap();
    assert!((70..=80).contains(&greedy.queued), "{}", greedy.queued);
    let bystander = within(enqueue(&case.nats, source(2), numbered(0..10), &due)).await.unwrap();
    assert_eq!(bystander.queued, 10);
    case.server.process.thaw();
    let queued = greedy.queued;
    let reports = within(greedy.reports).await;
    let (written, refused) = reports.split_at(queued);
    assert!(written.iter().all(Result::is_ok));
    assert!(refused.iter().all(|report| *report == Err(CommandError::queue_full())), "no record overtakes");
    assert!(within(bystander.reports).await.iter().all(Result::is_ok));
    assert_eq!(case.stored("S").await.len(), 1 + queued + 10);
    assert_eq!(metrics.queued.get(), 0);
    assert_eq!(metrics.failures().iter().sum::<u64>(), u64::try_from(refused.len()).unwrap());
}

#[tokio::test]
async fn message_larger_than_the_queue_is_refused() {
    let case = Case::start_with("", |config| config.queue_bytes = 10_000).await;
    case.stream("S", 0).await;
    let reports = case.produce(vec![record("S.a", vec![0; 10_000]), record("S.a", vec![0; 5_000])]).await;
    assert_eq!(reports[0].clone().unwrap_err().fault, Fault::TooLarge);
    assert_eq!(reports[1], written(1));
}
