//! `cmd_kafka_produce`: records are written as sent and in order, each independent of the others.

use futures_util::future::{Either, select};
use sluicegate_protocol::{Header, KafkaMessage, ProduceRecord};
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::socket::{Socket, produce};
use sluicegate_stack::way::Way;

use crate::pool::{Config, WRITES, direct, routed, standard};
use crate::writing::{error, offset, record};

const START: i64 = 1_700_000_000_000;

#[tokio::test]
async fn records_are_written_as_sent() {
    let (kafka, stack) = standard(Way::Tunnel).await;
    let topic = &kafka.topic("parts", 2, &[]).await.unwrap();
    let header = |key: &str, value: Option<&'static [u8]>| Header {
        key: key.to_owned(),
        value: value.map(bytes::Bytes::from_static),
    };
    let timed = |seconds: i64, record| ProduceRecord { timestamp: Some(START + seconds), ..record };
    let binary = &b"\xFF\0\n"[..];
    let records = [
        timed(0, record(topic, "plain")),
        timed(1, ProduceRecord { key: Some("key".into()), ..record(topic, binary) }),
        timed(2, ProduceRecord { key: Some(binary.into()), value: None, ..record(topic, "") }),
        timed(3, ProduceRecord { key: Some("".into()), ..record(topic, "") }),
        timed(
            4,
            ProduceRecord {
                headers: vec![
                    header("a", Some(b"1")),
                    header("a", Some(binary)),
                    header("", Some(b"")),
                    header("é", None),
                ],
                ..record(topic, "with headers")
            },
        ),
    ];
    let mut socket = Socket::open(&stack).await;
    let produced = socket.produce(records.to_vec()).await.unwrap();
    for (at, produced) in (0..).zip(&produced) {
        assert_eq!((produced.partition, offset(produced), produced.timestamp), (0, at, START + at));
    }
    let single = timed(9, ProduceRecord { partition: Some(1), ..record(topic, "single") });
    let one = socket.produce(vec![single.clone()]).await.unwrap();
    assert_eq!((one.len(), one[0].partition, offset(&one[0])), (1, 1, 0));
    assert_eq!(read(kafka, topic, 0), records);
    assert_eq!(read(kafka, topic, 1), [single]);

    assert_eq!(socket.produce(Vec::new()).await, Ok(Vec::new()));

    // Without a timestamp it is the bridge's clock.
    let at = |timestamp| ProduceRecord { timestamp, ..record(topic, "now") };
    let now = socket.produce([None, Some(-1), Some(0)].map(at).into()).await.unwrap();
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let clock = i64::try_from(clock.as_millis()).unwrap();
    let is_now = |at: i64| (clock - 60_000..=clock).contains(&at);
    assert!(is_now(now[0].timestamp) && is_now(now[1].timestamp), "{now:?} at {clock}");
    assert_eq!(now[2].timestamp, 1);
    let broker = &kafka.topic("times", 1, &[("message.timestamp.type", "LogAppendTime")]).await.unwrap();
    let appended = socket.produce(vec![timed(0, record(broker, "now"))]).await.unwrap();
    assert!(is_now(appended[0].timestamp - 60_000) || is_now(appended[0].timestamp), "{appended:?}");
}

#[tokio::test]
async fn failed_records_leave_their_neighbours_alone() {
    let kafka = Kafka::shared().await.unwrap();
    let config = Config::new(Way::Direct).await.writing(&["default"]);
    let stack = config.properties("message.max.bytes = 100000").own().await;
    let topic = &kafka.topic("neighbours", 1, &[]).await.unwrap();
    let missing = "missing-neighbour";
    let mut socket = direct(&stack, WRITES).await;
    let wrong = [
        (3, record(missing, "missing topic")),
        (3, ProduceRecord { partition: Some(1), ..record(topic, "missing partition") }),
        (3, ProduceRecord { partition: Some(-2), ..record(topic, "no partition") }),
        (17, record("no topic", "a name with a space")),
        (17, record("", "no name")),
        (10, record(topic, vec![b'x'; 100_000])),
        (32, ProduceRecord { timestamp: Some(-2), ..record(topic, "before 1970") }),
        (
            42,
            ProduceRecord {
                headers: vec![Header { key: "a\0".into(), value: None }],
                ..record(topic, "header")
            },
        ),
    ];
    let (codes, records): (Vec<i32>, Vec<ProduceRecord>) = wrong.into_iter().unzip();
    let good = |at: usize| record(topic, format!("{at}"));
    let mixed = records.into_iter().enumerate().flat_map(|(at, wrong)| [good(at), wrong]);
    // In one command and each in its own.
    let together = socket.produce(mixed.clone().collect()).await.unwrap();
    let mut apart = Vec::new();
    for record in mixed {
        apart.extend(socket.produce(vec![record]).await.unwrap());
    }
    for produced in [together, apart] {
        for (pair, code) in produced.chunks(2).zip(&codes) {
            offset(&pair[0]);
            let error = error(&pair[1]);
            assert_eq!(
                (error.code, error.retriable, error.unknown_outcome),
                (*code, false, false),
                "{error:?}"
            );
            assert!(!error.message.is_empty());
        }
    }
    let written: Vec<String> = read(kafka, topic, 0)
        .iter()
        .map(|r| String::from_utf8_lossy(r.value.as_ref().unwrap()).into())
        .collect();
    let want: Vec<String> = (0..8).chain(0..8).map(|at| at.to_string()).collect();
    assert_eq!(written, want);
    assert!(!kafka.topics().unwrap().iter().any(|known| known == missing));
}

/// A partition from its start to its end, each record as one that would write it again; offsets count from 0.
fn read(kafka: &Kafka, topic: &str, partition: i32) -> Vec<ProduceRecord> {
    let messages = kafka.read(topic, partition);
    assert!(messages.iter().map(|message| message.offset).eq(0..messages.len() as i64));
    let record = |message: KafkaMessage| ProduceRecord {
        topic: topic.to_owned(),
        partition: Some(partition),
        key: message.key,
        value: message.value,
        headers: message.headers,
        timestamp: Some(message.timestamp),
        ..ProduceRecord::default()
    };
    messages.into_iter().map(record).collect()
}

/// An attacker without pause makes few writes of a bystander fail, even if both come from one address.
#[tokio::test]
async fn rejected_records_do_not_fail_those_of_others() {
    let bad_time = |topic: &str| ProduceRecord { timestamp: Some(8_204_889_600_000), ..record(topic, "x") };
    bystander_writes_beside("delete", bad_time, 32).await;
    let without_key = |topic: &str| record(topic, "x");
    bystander_writes_beside("compact", without_key, 87).await;
}

/// In a topic with this `cleanup.policy`.
async fn bystander_writes_beside(policy: &str, bad: impl Fn(&str) -> ProduceRecord, code: i32) {
    const WRITES: usize = 100;
    const IN_FLIGHT: usize = 8;
    let kafka = Kafka::shared().await.unwrap();
    let stack = routed(Way::Tunnel).await.alone().await;
    let topic = kafka.topic("rejected", 1, &[("cleanup.policy", policy)]).await.unwrap();
    let (mut attacker, mut bystander) = (Socket::open(&stack).await, Socket::open(&stack).await);
    let attack = async {
        for _ in 0..IN_FLIGHT {
            attacker.send(produce(vec![bad(&topic)])).await;
        }
        loop {
            attacker.receive().await;
            attacker.send(produce(vec![bad(&topic)])).await;
        }
    };
    let writes = async {
        let mut failed = 0_usize;
        for number in 0..WRITES {
            let good =
                || vec![ProduceRecord { key: Some("key".into()), ..record(&topic, format!("{number}")) }];
            let first = bystander.produce(good()).await.unwrap();
            if first[0].error.is_none() {
                continue;
            }
            let rejected = error(&first[0]);
            // 87, too, is the code of a good record in a batch with a bad one.
            assert!([code, 87].contains(&rejected.code) && rejected.retriable, "{rejected:?}");
            failed += 1;
            let again = bystander.produce(good()).await.unwrap();
            assert_eq!(again[0].error, None, "after {failed} failures");
        }
        failed
    };
    let failed = match select(Box::pin(attack), Box::pin(writes)).await {
        Either::Left(((), _)) => panic!("an endless attack ended"),
        Either::Right((failed, _)) => failed,
    };
    assert!(failed <= 2, "{failed} of {WRITES} failed");
}
