//! Writes with a producer: each record once in Kafka, however often its command is repeated, and through which bridge.

use serde_json::json;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::{CmdKafkaProduce, ProduceRecord, Produced, Producer, ProducerState, Reason};
use sluicegate_stack::http::client::Request;
use sluicegate_stack::socket::{Socket, results};
use sluicegate_stack::way::Way;

use super::{error, offset, record};
use crate::http::openapi::ask;
use crate::pool::{ANY, REST, standard};

/// The result of a command: the offset of each record and whether it was there, or why the first was not written.
#[derive(Debug, PartialEq)]
enum Told {
    At(Vec<(i64, bool)>),
    Refused(Reason, Option<(u32, u32)>),
}

async fn write(socket: &mut Socket, records: Vec<ProduceRecord>, producer: Producer) -> Vec<Produced> {
    let command = CmdKafkaProduce { records, producer: Some(producer), dry_run: false };
    results(socket.ask(Req::CmdKafkaProduce(command)).await).unwrap()
}

fn told(results: &[Produced]) -> Told {
    match results.iter().find_map(|result| result.error.as_ref()) {
        Some(error) => {
            let state = error.producer.map(|ProducerState { epoch, sequence }| (epoch, sequence));
            Told::Refused(error.reason(), state)
        }
        None => {
            assert!(results.iter().all(|result| result.duplicate_window_ms == 18 * 3_600_000), "{results:?}");
            Told::At(results.iter().map(|result| (offset(result), result.duplicate)).collect())
        }
    }
}

fn producer(epoch: u32, sequence: u32, age_ms: u64) -> Producer {
    Producer { id: "p".to_owned(), epoch, sequence, age_ms: Some(age_ms) }
}

#[tokio::test]
async fn repeats_are_written_once_by_whichever_bridge() {
    let (kafka, stack) = standard(Way::Tunnel).await;
    let (_, other) = standard(Way::Relay).await;
    const TOO_OLD: u64 = 19 * 3_600_000;
    for times in ["CreateTime", "LogAppendTime"] {
        let topic = &kafka.topic("repeated", 2, &[("message.timestamp.type", times)]).await.unwrap();
        let mut sockets = [Socket::open(&stack).await, Socket::open(&other).await];
        let at = |offsets: &[(i64, bool)]| Told::At(offsets.to_vec());
        for (socket, epoch, sequence, count, age, want) in [
            (0, 0, 0, 1, 0, at(&[(0, false)])),
            (1, 0, 0, 1, 5, at(&[(0, true)])),
            (1, 0, 1, 3, 0, at(&[(1, false), (2, false), (3, false)])),
            (0, 0, 1, 3, 5, at(&[(1, true), (2, true), (3, true)])),
            // In other batches than at first, and more.
            (0, 0, 3, 3, 5, at(&[(-1, true), (4, false), (5, false)])),
            (0, 0, 1, 1, 5, at(&[(-1, true)])),
            (0, 0, 9, 1, 0, Told::Refused(Reason::OutOfOrder, Some((0, 6)))),
            // Another epoch, which ends the earlier one, and begins at 0.
            (1, 2, 1, 1, 0, Told::Refused(Reason::OutOfOrder, Some((2, 0)))),
            (1, 2, 0, 1, 0, at(&[(6, false)])),
            (0, 0, 6, 1, 0, Told::Refused(Reason::Fenced, Some((2, 1)))),
            (0, 1, 0, 1, 0, Told::Refused(Reason::Fenced, Some((2, 1)))),
            // Late, but known.
            (1, 2, 0, 1, TOO_OLD, at(&[(6, true)])),
            (1, 2, 1, 1, TOO_OLD, at(&[(7, false)])),
        ] {
            let values = (0..count).map(|number| record(topic, format!("{epoch}/{}", sequence + number)));
            let results = write(&mut sockets[socket], values.collect(), producer(epoch, sequence, age)).await;
            assert_eq!(told(&results), want, "{times} {socket} {epoch} {sequence} {count}: {results:?}");
        }
        let [one, _] = &mut sockets;
        // Producers that began elsewhere, or too long ago.
        for (sequence, age, state) in [(7, 0, Some((0, 0))), (7, TOO_OLD, None), (0, TOO_OLD, None)] {
            let unknown = Producer { id: "unknown".to_owned(), ..producer(0, sequence, age) };
            let results = write(one, vec![record(topic, "x")], unknown).await;
            assert_eq!(told(&results), Told::Refused(Reason::Expired, state), "{results:?}");
        }
        let values: Vec<_> =
            one.walk(topic, 0, 0).await.into_iter().map(|message| message.value.unwrap()).collect();
        assert_eq!(values, ["0/0", "0/1", "0/2", "0/3", "0/4", "0/5", "2/0", "2/1"]);
    }
}

#[tokio::test]
async fn producers_command_is_written_to_one_partition_or_not_at_all() {
    let (kafka, stack) = standard(Way::Tunnel).await;
    let topic = &kafka.topic("placed", 4, &[("max.message.bytes", "10000")]).await.unwrap();
    let mut socket = Socket::open(&stack).await;
    let keyed = |key: &'static str, value: &'static str| ProduceRecord {
        partition: None,
        key: Some(key.into()),
        ..record(topic, value)
    };
    // Java's partitions: see the unit test of the placement.
    let records = vec![keyed("a", "1"), keyed("abc", "2"), record("missing", "3")];
    let dry = CmdKafkaProduce { records: records.clone(), producer: None, dry_run: true };
    let placed = results(socket.ask(Req::CmdKafkaProduce(dry)).await).unwrap();
    assert_ne!(placed[0].partition, placed[1].partition);
    assert_eq!((placed[0].offset, error(&placed[2]).reason()), (-1, Reason::NotFound));
    let whole = CmdKafkaProduce { records, producer: Some(producer(0, 0, 0)), dry_run: false };
    let refused = results(socket.ask(Req::CmdKafkaProduce(whole)).await).unwrap_err();
    assert!(refused.message.contains("expected one partition for all records"), "{refused:?}");
    let large = record(topic, vec![0; 20_000]);
    let results = write(&mut socket, vec![record(topic, "x"), large], producer(0, 0, 0)).await;
    let reasons: Vec<_> = results.iter().map(|result| error(result).reason()).collect();
    assert_eq!(reasons, [Reason::TooLarge; 2], "{results:?}");
    let compacted = &kafka.topic("compacted", 1, &[("cleanup.policy", "compact")]).await.unwrap();
    let with_key =
        |key: Option<&'static str>| ProduceRecord { key: key.map(Into::into), ..record(compacted, "x") };
    let beside = vec![with_key(Some("a")), with_key(None), with_key(Some("b"))];
    let results = write(&mut socket, beside, producer(0, 0, 0)).await;
    let reasons: Vec<_> = results.iter().map(|result| error(result).reason()).collect();
    assert_eq!(reasons, [Reason::Transient, Reason::InvalidRecord, Reason::Transient], "{results:?}");
    let placed = write(&mut socket, vec![keyed("a", "1"), keyed("a", "2")], producer(0, 0, 0)).await;
    assert_eq!(told(&placed), Told::At(vec![(0, false), (1, false)]));
    let any = ProduceRecord { partition: None, ..record(topic, "z") };
    let [one, again] = [producer(1, 0, 0), producer(1, 0, 9)];
    let first = write(&mut socket, vec![any.clone()], one).await;
    let repeat = write(&mut socket, vec![any], again).await;
    assert_eq!((repeat[0].partition, repeat[0].duplicate), (first[0].partition, true));
}

#[tokio::test]
async fn repeats_of_requests_are_written_once() {
    let (kafka, stack) = standard(Way::Tunnel).await;
    let topic = &kafka.topic("requests", 1, &[]).await.unwrap();
    let value = json!({"records": [{"value": 1}, {"value": 2}]}).to_string();
    let rest = Request::post(format!("{REST}/topics/{topic}"), value);
    let rest = rest.with("content-type", "application/vnd.kafka.json.v2+json");
    let one = Request::post(ANY, "3").with("x-kafka-topic", topic);
    let ask = async |request: &Request, id: &str, epoch: &str, sequence: &str, age: &str| {
        let request = request.clone().with("producer-id", id).with("producer-epoch", epoch);
        ask(stack.gateway(), request.with("producer-seq", sequence).with("producer-age", age)).await
    };
    let told =
        ["producer-epoch", "producer-seq", "producer-expected-seq", "producer-duplicate", "producer-window"];
    for (request, epoch, sequence, age, status, want) in [
        (&rest, "0", "0", "0", 200, [Some("0"), Some("1"), None, None, Some("64800")]),
        (&rest, "0", "0", "9", 200, [Some("0"), Some("1"), None, Some("true"), Some("64800")]),
        (&one, "0", "2", "0", 200, [Some("0"), Some("2"), None, None, Some("64800")]),
        (&one, "0", "2", "9", 200, [Some("0"), Some("2"), None, Some("true"), Some("64800")]),
        (&rest, "0", "0", "9", 200, [Some("0"), Some("2"), None, Some("true"), Some("64800")]),
        (&one, "0", "4", "0", 409, [Some("0"), None, Some("3"), None, None]),
        (&rest, "1", "0", "0", 200, [Some("1"), Some("1"), None, None, Some("64800")]),
        (&rest, "0", "3", "0", 403, [Some("1"), None, Some("2"), None, None]),
        (&one, "32768", "0", "0", 400, [None; 5]),
        (&one, "0", "x", "0", 400, [None; 5]),
        (&one, "0", "0", "", 400, [None; 5]),
    ] {
        let answer = ask(request, "p", epoch, sequence, age).await;
        let found = told.map(|name| answer.header(name));
        assert_eq!((answer.status, found), (status, want), "{epoch} {sequence} {age}: {answer:?}");
    }
    let half = crate::http::openapi::ask(stack.gateway(), one.clone().with("producer-id", "p")).await;
    assert_eq!(half.status, 400, "{half:?}");
    let unknown = ask(&rest, "unknown", "0", "5", "0").await;
    assert_eq!((unknown.status, &unknown.json()["reason"]), (409, &json!("expired")), "{unknown:?}");
    assert_eq!(kafka.read(topic, 0).len(), 5);
}
