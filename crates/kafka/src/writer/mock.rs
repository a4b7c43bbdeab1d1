//! The producer against librdkafka's mock cluster.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use sluicegate_backend::command::{Header, Record};
use sluicegate_backend::{Fault, Written};
use sluicegate_fair_share::ClientKey;
use sluicegate_telemetry::metrics::Metrics;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::*;

type Mock = MockCluster<'static, DefaultProducerContext>;

const TOPIC: &str = "orders";
const WITHIN: Duration = Duration::from_secs(30);

/// A cluster of one broker with a topic of two partitions, and a writer to it.
fn start(properties: &[(&str, &str)]) -> (Mock, Writer, WriteMetrics) {
    start_on(1, properties)
}

fn start_on(brokers: i32, properties: &[(&str, &str)]) -> (Mock, Writer, WriteMetrics) {
    let mock = MockCluster::new(brokers).unwrap();
    mock.create_topic(TOPIC, 2, 1).unwrap();
    let servers = mock.bootstrap_servers();
    let mut all: BTreeMap<String, String> =
        properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    all.insert("bootstrap.servers".to_owned(), servers);
    let metrics = Metrics::default().writes("mock");
    let writer = Writer::new(Settings::parse(&all).unwrap(), metrics.clone());
    (mock, writer, metrics)
}

fn record(value: impl Into<Vec<u8>>) -> Record {
    let value = Some(value.into().into());
    Record { topic: TOPIC.to_owned(), partition: Some(0), value, ..Record::default() }
}

async fn write(writer: &Writer, records: &[Record]) -> Vec<DeliveryReport> {
    write_as(ClientKey::default(), writer, records).await
}

async fn write_as(source: ClientKey, writer: &Writer, records: &[Record]) -> Vec<DeliveryReport> {
    let enqueued = writer.enqueue(source, records.to_vec(), vec![None; records.len()]).await.unwrap();
    timeout(WITHIN, writer.wait(enqueued, &CancellationToken::new())).await.expect("all reports")
}

fn codes(reports: &[DeliveryReport]) -> Vec<Option<i32>> {
    reports.iter().map(|report| error(report).map(|error| error.code)).collect()
}

fn error(report: &DeliveryReport) -> Option<CommandError> {
    report.clone().err()
}

/// An error's code, whether a retry can succeed, and whether the record may have been written.
fn facts(error: &CommandError) -> (i32, bool, bool) {
    (error.code, error.fault.is_retriable(), matches!(error.fault, Fault::UnknownOutcome { .. }))
}

#[tokio::test]
async fn records_are_acknowledged_with_their_place() {
    let (mock, writer, metrics) = start(&[]);
    let headers = vec![
        Header { key: "a".into(), value: None },
        Header { key: "a".into(), value: Some("".into()) },
        Header { key: "".into(), value: Some("v".into()) },
    ];
    let full = Record { key: Some("k".into()), timestamp: Some(7), headers, ..record("1") };
    let chosen = Record { partition: None, key: Some("k".into()), ..record("2") };
    let null = Record { partition: Some(1), value: None, ..record("") };
    let produced = write(&writer, &[record("0"), full, chosen.clone(), null]).await;
    assert_eq!(codes(&produced), [None; 4]);
    let produced: Vec<Written> = produced.into_iter().map(Result::unwrap).collect();
    assert_eq!((produced[0].partition, produced[0].offset), (0, 0));
    // The mock's timestamps are arbitrary.
    assert_eq!(produced[1].offset, 1);
    assert_eq!(produced[3].partition, 1);
    // As in Java.
    mock.create_topic("keys", 10, 1).unwrap();
    let keyed =
        |key: &'static str| Record { topic: "keys".to_owned(), key: Some(key.into()), ..chosen.clone() };
    let keyed = write(&writer, &["354afe16-939a-4ea8-8e17-8bb0840b6886", ""].map(keyed)).await;
    assert_eq!(keyed.into_iter().map(|report| report.unwrap().partition).collect::<Vec<_>>(), [4, 1]);
    assert_eq!((metrics.queued.get(), metrics.failures()), (0, [0; 4]));
}

#[tokio::test]
async fn refused_record_does_not_affect_others() {
    let (_mock, writer, metrics) = start(&[("message.max.bytes", "2000")]);
    let refused = error::refused(3, "no such topic".to_owned());
    let records = [record("0"), record(vec![b'x'; 2001]), record("2"), record("3")];
    let enqueued = writer
        .enqueue(ClientKey::default(), records.to_vec(), vec![None, None, Some(refused.clone()), None])
        .await
        .unwrap();
    let produced = writer.wait(enqueued, &CancellationToken::new()).await;
    assert_eq!(codes(&produced), [None, Some(10), Some(3), None]);
    assert_eq!(produced[2], Err(refused));
    assert_eq!(produced[3].as_ref().unwrap().offset, 1);
    assert_eq!(metrics.failures(), [2, 0, 0, 0]);
}

#[tokio::test]
async fn full_queue_refuses_all_further_records() {
    let (mock, writer, metrics) =
        start(&[("queue.buffering.max.messages", "3"), ("message.timeout.ms", "2000")]);
    mock.broker_down(1).unwrap();
    let records: Vec<_> = (0..5).map(|number| record(number.to_string())).collect();
    let enqueued = writer.enqueue(ClientKey::default(), records.to_vec(), vec![None; 5]).await.unwrap();
    assert_eq!((enqueued.queued, metrics.queued.get()), (3, 3));
    let produced = writer.wait(enqueued, &CancellationToken::new()).await;
    assert_eq!(codes(&produced), [Some(7), Some(7), Some(7), Some(0), Some(0)]);
    assert_eq!(produced[3..], [Err(CommandError::queue_full()), Err(CommandError::queue_full())]);
    // None was sent, so the outcome is known.
    assert!(produced.iter().all(|report| !facts(&error(report).unwrap()).2));
    assert_eq!(metrics.queued.get(), 0);
    mock.broker_up(1).unwrap();
    // librdkafka counts a record until its report is freed, shortly after the callback.
    let later = async {
        loop {
            match write(&writer, &[record("later")]).await.remove(0) {
                Err(CommandError { fault: Fault::QueueFull, .. }) => tokio::task::yield_now().await,
                report => return report.err(),
            }
        }
    };
    assert_eq!(timeout(WITHIN, later).await.expect("room in the queue"), None);
}

#[tokio::test]
async fn smaller_record_does_not_overtake_a_refused_one_of_its_command() {
    let (mock, writer, _) = start(&[("queue.buffering.max.kbytes", "10"), ("message.timeout.ms", "1000")]);
    mock.broker_down(1).unwrap();
    let records = [5_000, 6_000, 10].map(|len| record(vec![b'x'; len]));
    let enqueued = writer.enqueue(ClientKey::default(), records.to_vec(), vec![None; 3]).await.unwrap();
    assert_eq!(enqueued.queued, 1);
    // There is room for the small one, in a command of its own.
    let alone = writer.enqueue(ClientKey::default(), records[2..].to_vec(), vec![None]).await.unwrap();
    assert_eq!(alone.queued, 1);
    let produced = writer.wait(enqueued, &CancellationToken::new()).await;
    assert_eq!(produced[1..], [Err(CommandError::queue_full()), Err(CommandError::queue_full())]);
}

#[tokio::test]
async fn keys_and_headers_take_room_in_the_queue() {
    let (mock, writer, _) = start(&[("queue.buffering.max.kbytes", "10"), ("message.timeout.ms", "1000")]);
    mock.broker_down(1).unwrap();
    let key = Some(vec![b'k'; 6_000].into());
    let headers = vec![Header { key: "h".into(), value: Some(vec![b'v'; 20_000].into()) }];
    let too_large = Record { headers, ..record("") };
    let records = [Record { key: key.clone(), ..record("") }, too_large, Record { key, ..record("") }];
    let produced = write(&writer, &records).await;
    assert_eq!(codes(&produced), [Some(7), Some(10), Some(0)]);
    assert!(facts(&error(&produced[2]).unwrap()).1);
}

#[tokio::test]
async fn sent_record_without_acknowledgement_has_an_unknown_outcome() {
    let (mock, writer, _) = start(&[("message.timeout.ms", "3000"), ("socket.timeout.ms", "1000")]);
    assert_eq!(codes(&write(&writer, &[record("first")]).await), vec![None]);
    mock.broker_round_trip_time(1, Duration::from_secs(20)).unwrap();
    let produced = write(&writer, &[record("second")]).await;
    let error = error(&produced[0]).unwrap();
    assert_eq!(facts(&error), (7, true, true), "{error:?}");
}

#[tokio::test]
async fn late_record_harms_no_other_partition() {
    let (mock, writer, metrics) = start_on(2, &[("message.timeout.ms", "1000")]);
    mock.partition_leader(TOPIC, 0, Some(1)).unwrap();
    mock.partition_leader(TOPIC, 1, Some(2)).unwrap();
    let other = Record { partition: Some(1), ..record("other") };
    assert_eq!(codes(&write(&writer, &[record("0"), other.clone()]).await), [None, None]);
    mock.broker_down(1).unwrap();
    let late = writer.enqueue(ClientKey::default(), vec![record("1")], vec![None]).await.unwrap();
    let late =
        tokio::spawn(async move { late.reports.wait(&CancellationToken::new(), |_| error::late()).await });
    while !late.is_finished() {
        assert_eq!(codes(&write(&writer, std::slice::from_ref(&other)).await), [None]);
    }
    let late = late.await.unwrap().remove(0).map_err(CommandError::from);
    assert_eq!(facts(&error(&late).unwrap()), (7, true, false), "{late:?}");
    assert_eq!(metrics.failures(), [0, 0, 0, 1]);
}

#[tokio::test]
async fn due_writes_report_an_unknown_outcome() {
    let (mock, writer, _) = start(&[("message.timeout.ms", "2000")]);
    mock.broker_down(1).unwrap();
    let enqueued = writer.enqueue(ClientKey::default(), vec![record("0")], vec![None]).await.unwrap();
    let due = CancellationToken::new();
    due.cancel();
    assert_eq!(writer.wait(enqueued, &due).await[0], Err(error::late().into()));
}

#[tokio::test]
async fn close_delivers_accepted_records() {
    let (mock, writer, metrics) = start(&[("linger.ms", "500")]);
    let enqueued = writer.enqueue(ClientKey::default(), vec![record("0")], vec![None]).await.unwrap();
    writer.close(Instant::now() + WITHIN).await;
    assert_eq!(metrics.queued.get(), 0);
    let produced = writer.wait(enqueued, &CancellationToken::new()).await;
    assert_eq!(codes(&produced), vec![None]);
    drop(mock);
}

#[tokio::test]
async fn invalid_record_is_permanent_only_if_alone_in_its_batch() {
    let (mock, writer, _) = start(&[("linger.ms", "100")]);
    for (client, (code, error)) in (1_u8..).step_by(10).zip([
        (10, RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE),
        (87, RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_RECORD),
        (32, RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP),
    ]) {
        // A client of its own each: one whose records were rejected has no batches any more.
        for (client, records, retriable) in
            [(client, 1, false), (client + 1, 2, true), (client + 2, 1, false)]
        {
            mock.request_errors(RDKafkaApiKey::Produce, &[error]);
            for produced in write_as(source(client), &writer, &vec![record("x"); records]).await {
                let error = produced.unwrap_err();
                assert_eq!(facts(&error), (code, retriable, false));
            }
            assert!(writer.suspects.contains(source(client)), "{code}: it writes apart from now on");
        }
        assert_eq!(codes(&write(&writer, &[record("again")]).await), vec![None]);
    }
}

#[tokio::test]
async fn rejected_client_writes_apart_in_order() {
    let (mock, writer, metrics) = start(&[("linger.ms", "100")]);
    let invalid = RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_RECORD;
    mock.request_errors(RDKafkaApiKey::Produce, &[invalid]);
    let (two, one) = ([record("a0"), record("a1")], [record("b0")]);
    let both = tokio::join!(write_as(source(1), &writer, &two), write_as(source(2), &writer, &one));
    assert_eq!((codes(&both.0), codes(&both.1)), (vec![Some(87); 2], vec![Some(87)]));
    // One by one: only the first is rejected, and it was alone.
    mock.request_errors(RDKafkaApiKey::Produce, &[invalid]);
    let [first, second, other] = [(1, "a2"), (1, "a3"), (2, "b1")]
        .map(|(client, name)| (source(client), [record(name), record(format!("{name}'"))]));
    let mut enqueued = Vec::new();
    for (source, records) in [first, second, other] {
        enqueued.push(writer.enqueue(source, records.to_vec(), vec![None; 2]).await.unwrap());
    }
    assert_eq!(writer.queue.len(), 6);
    let mut all = Vec::new();
    for enqueued in enqueued {
        let reports = timeout(WITHIN, writer.wait(enqueued, &CancellationToken::new())).await.unwrap();
        all.extend(reports.into_iter().map(|report| report.map(|written| written.offset)));
    }
    let rejected = all[0].clone().unwrap_err();
    assert_eq!(facts(&rejected), (87, false, false));
    let offsets: Vec<_> = all[1..].iter().map(|offset| offset.clone().unwrap()).collect();
    assert_eq!(offsets, [0, 1, 2, 3, 4]);
    assert!(!writer.has_queued_records());
    assert_eq!((metrics.queued.get(), metrics.failures()), (0, [4, 0, 0, 0]));
}

#[tokio::test]
async fn record_apart_waits_for_those_in_shared_batches() {
    let (mock, writer, _) = start(&[]);
    assert_eq!(codes(&write(&writer, &[record("connects")]).await), vec![None]);
    mock.broker_round_trip_time(1, Duration::from_millis(300)).unwrap();
    let shared = writer.enqueue(source(1), vec![record("0")], vec![None]).await.unwrap();
    writer.suspects.add(source(1));
    let apart = writer.enqueue(source(1), vec![record("1")], vec![None]).await.unwrap();
    assert!(!shared.is_apart && apart.is_apart);
    let none = CancellationToken::new();
    let (shared, apart) = tokio::join!(writer.wait(shared, &none), writer.wait(apart, &none));
    let offsets = [shared, apart].map(|mut reports| reports.remove(0).unwrap().offset);
    assert_eq!(offsets, [1, 2]);
}

fn source(number: u8) -> ClientKey {
    ClientKey::from(IpAddr::from([10, 0, 0, number]))
}

/// A writer whose first producer has a fatal error at its first record.
fn start_fatal() -> (Mock, Writer) {
    let (mock, writer, _) = start(&[("message.timeout.ms", "5000")]);
    let fatal = RDKafkaRespErr::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED;
    mock.request_errors(RDKafkaApiKey::InitProducerId, &[fatal]);
    (mock, writer)
}

#[tokio::test]
async fn fatal_error_replaces_the_producer() {
    let (_mock, mut writer) = start_fatal();
    writer.slot.pause = Duration::ZERO;
    let produced = write(&writer, &[record("0")]).await;
    assert_eq!(codes(&produced), [Some(31)], "{produced:?}");
    assert_eq!(codes(&write(&writer, &[record("1")]).await), vec![None]);
}

#[tokio::test]
async fn unauthorized_writes_do_not_create_a_producer_each() {
    let (_mock, writer) = start_fatal();
    assert_eq!(codes(&write(&writer, &[record("0")]).await), [Some(31)]);
    // The next producer would be authorized, but is not created yet.
    let error = writer.enqueue(ClientKey::default(), vec![record("1")], vec![None]).await.unwrap_err();
    let NoProducer::Refused(error) = error else { panic!("{error:?}") };
    assert_eq!(facts(&error), (31, false, false), "{error:?}");
}

#[tokio::test]
async fn late_reader_of_reports_gets_the_fatal_error() {
    let (_mock, mut writer) = start_fatal();
    writer.slot.pause = Duration::ZERO;
    let [first, second] = [
        writer.enqueue(ClientKey::default(), vec![record("0")], vec![None]).await.unwrap(),
        writer.enqueue(ClientKey::default(), vec![record("1")], vec![None]).await.unwrap(),
    ];
    let none = CancellationToken::new();
    assert_eq!(codes(&timeout(WITHIN, writer.wait(first, &none)).await.unwrap()), [Some(31)]);
    assert_eq!(codes(&write(&writer, &[record("2")]).await), vec![None]);
    assert_eq!(codes(&timeout(WITHIN, writer.wait(second, &none)).await.unwrap()), [Some(31)]);
}

#[tokio::test]
async fn failure_to_create_a_producer_shows_no_values() {
    let (_mock, writer, _) = start(&[("security.protocol", "ssl"), ("ssl.ca.location", "/nowhere/ca.pem")]);
    for _ in 0..2 {
        let error = writer.enqueue(ClientKey::default(), vec![record("0")], vec![None]).await.unwrap_err();
        let NoProducer::Refused(error) = error else { panic!("{error:?}") };
        assert!(!error.fault.is_retriable() && error.message.contains("see its log"), "{error:?}");
        assert!(!error.message.contains("nowhere"), "{error:?}");
    }
}

#[tokio::test]
async fn close_ends_in_time() {
    let (mock, writer, _) = start(&[]);
    mock.broker_down(1).unwrap();
    writer.enqueue(ClientKey::default(), vec![record("0")], vec![None]).await.unwrap();
    let start = Instant::now();
    writer.close(start + Duration::from_secs(1)).await;
    assert!(start.elapsed() < Duration::from_millis(1500), "{:?}", start.elapsed());
    let error = writer.enqueue(ClientKey::default(), vec![record("1")], vec![None]).await.unwrap_err();
    assert_eq!(error, NoProducer::Refused(CommandError::shutting_down()));
}
