//! Random logs, read through the gateway and by librdkafka: a few, or as many as `just differential` sets.
//!
//! A failure prints the seed of its log; `just differential 1 SEED` repeats it.

use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{CmdKafkaFetch, Isolation, KafkaMessage};
use sluicegate_tests::envoy::Profile;
use sluicegate_tests::kafka::{Codec, Kafka, Outcome, Record, Write};
use sluicegate_tests::random::Random;
use sluicegate_tests::socket::Socket;
use sluicegate_tests::tools::number;

use crate::gateway::{shared, tight};
use crate::reference::{FOREVER, START, assert_same, check_reads};

#[tokio::test]
async fn random_logs_are_read_as_librdkafka_reads_them() {
    // Logs 3 to 5 have every codec, committed and aborted transactions, markers at their ends, and deleted records.
    let first = number("SLUICEGATE_DIFFERENTIAL_SEED", 3);
    let rounds = number("SLUICEGATE_DIFFERENTIAL_ROUNDS", 3);
    let (kafka, roomy) = shared(Profile::Tunnel).await;
    let (_, tight) = tight(Profile::Tunnel).await;
    let mut sockets = [("roomy", Socket::open(roomy).await), ("tight", Socket::open(tight).await)];
    for seed in (first..).take(usize::try_from(rounds).unwrap()) {
        let mut random = Random::new(seed);
        let topic = write(kafka, seed, &mut random).await;
        let (want, committed) = (kafka.read(&topic, 0), kafka.read_committed(&topic, 0));
        let (start, end) = kafka.watermarks(&topic, 0).unwrap();
        let span = usize::try_from(end - start).unwrap();
        let offsets: Vec<i64> = (0..20).map(|_| start + random.below(span + 1) as i64).collect();
        // Also before the first record and after the last one.
        let times: Vec<i64> = (0..20).map(|_| START - 100 + random.below(1_200) as i64).collect();
        let found = kafka.offsets_at(&topic, &times);
        for (name, socket) in &mut sockets {
            let what = format!("{name}, {topic}");
            assert_eq!(socket.list_offset(&topic, 0, -2).await, Ok(start), "{what}");
            assert_eq!(socket.list_offset(&topic, 0, -1).await, Ok(end), "{what}");
            for (time, want) in times.iter().zip(&found) {
                assert_eq!(socket.list_offset(&topic, 0, *time).await, Ok(*want), "{what} at {time}");
            }
            check_reads(socket, &topic, offsets.iter().copied().chain([start, end]), &want).await;
            for offset in offsets.iter().copied().chain([start, end]) {
                let read = walk_committed(socket, &topic, offset, &mut random).await;
                let after = committed.partition_point(|message| message.offset < offset);
                assert_same(&read, &committed[after..], &format!("{what}, committed, from offset {offset}"));
            }
        }
        kafka.delete_topic(&topic).await.unwrap();
    }
}

/// Reads the committed records from `offset` on, with random bounds, and checks where each answer says to go on.
async fn walk_committed(
    socket: &mut Socket,
    topic: &str,
    mut offset: i64,
    random: &mut Random,
) -> Vec<KafkaMessage> {
    let mut walked = Vec::new();
    loop {
        let fetch = CmdKafkaFetch {
            topic: topic.to_owned(),
            offset,
            max_wait_ms: Some(0),
            max_bytes: [0, 1, 500][random.below(3)],
            max_records: [0, 1, 20][random.below(3)],
            isolation: Isolation::ReadCommitted.into(),
            ..Default::default()
        };
        let Resp::KafkaFetchResp(answer) = socket.ask(Req::CmdKafkaFetch(fetch.clone())).await else {
            panic!("no answer to {fetch:?}")
        };
        let next = answer.next_offset;
        let last = answer.messages.last().map_or(offset, |message| message.offset + 1);
        assert!(next >= last, "{next} after {last}");
        assert!(fetch.max_records == 0 || answer.messages.len() <= fetch.max_records as usize);
        walked.extend(answer.messages);
        if next == offset {
            assert_eq!(answer.last_stable_offset, Some(offset));
            return walked;
        }
        offset = next;
    }
}

/// A topic whose name tells the seed, of a few runs of records, each written in its own way; some of the first may be
/// deleted.
async fn write(kafka: &Kafka, seed: u64, random: &mut Random) -> String {
    let stamped = ("message.timestamp.type", ["CreateTime", "CreateTime", "LogAppendTime"][random.below(3)]);
    let topic = kafka.topic(&format!("seed-{seed}"), 1, &[FOREVER, stamped]).await.unwrap();
    for _ in 0..random.below(6) + 1 {
        let how = Write {
            codec: Codec::ALL[random.below(5)],
            batch: [Some(1), Some(7), Some(50)][random.below(3)],
            transaction: [None, None, Some(Outcome::Commit), Some(Outcome::Abort)][random.below(4)],
        };
        let records: Vec<Record> = (0..random.below(150) + 1).map(|_| record(random)).collect();
        kafka.produce(&topic, 0, &records, how).await.unwrap();
    }
    if random.below(3) == 0 {
        let (_, end) = kafka.watermarks(&topic, 0).unwrap();
        let before = random.below(usize::try_from(end).unwrap() + 1);
        kafka.delete_records_before(&topic, 0, before as i64).await.unwrap();
    }
    topic
}

fn record(random: &mut Random) -> Record {
    let (key, value) = (part(random), part(random));
    Record { key, value, timestamp: Some(time(random)) }
}

/// Null, empty, short, or of a few kilobytes: 50 of these are a batch that the smallest limits let pass.
fn part(random: &mut Random) -> Option<Vec<u8>> {
    let len = match random.below(10) {
        0 => return None,
        1 => 0,
        2 => random.below(4_000),
        _ => random.below(40),
    };
    Some(if random.below(2) == 0 { random.bytes(len) } else { vec![b'z'; len] })
}

/// In no order, some twice.
fn time(random: &mut Random) -> i64 {
    START + random.below(1_000) as i64
}
