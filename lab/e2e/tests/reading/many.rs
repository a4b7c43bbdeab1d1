//! Commands that read many partitions.

use std::time::{Duration, Instant};

use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{
    CmdKafkaListOffset, CmdKafkaListOffsets, CmdKafkaMetadata, CmdKafkaMultiFetch, ErrorResp, Isolation,
    KafkaFetchResp, KafkaMetadataResp, ListedOffset, PartitionFetched, PartitionMetadata, PartitionOffset,
    Reason,
};
use sluicegate_stack::kafka::{Kafka, Outcome, Record, Write};
use sluicegate_stack::socket::Socket;
use sluicegate_stack::waiting::until;
use sluicegate_stack::way::Way;
use sluicegate_tests::in_every_way;

use crate::reading::gateway::shared;
use crate::reading::reference::{FOREVER, START, assert_same, messages, noise};

/// More than all answers of a test take.
const WAIT_MS: u32 = 20_000;
const SMALL: i32 = 9;

in_every_way! {
    partitions_share_every_answer_and_a_wait
}

/// Walks one long and nine short partitions to their ends, and then waits for all.
async fn partitions_share_every_answer_and_a_wait(way: Way) {
    let (kafka, stack) = shared(way).await;
    let topic = &kafka.topic("many", 1 + SMALL, &[FOREVER]).await.unwrap();
    let large: Vec<Record> = (0..1000).map(|seed| timed(Record::of(noise(1500, seed)))).collect();
    let small: Vec<Record> = (0..8).map(|number| timed(Record::of(format!("small {number}")))).collect();
    let mut want = vec![messages(&write(kafka, topic, 0, &large).await, &large)];
    for partition in 1..=SMALL {
        want.push(messages(&write(kafka, topic, partition, &small).await, &small));
    }

    let mut socket = Socket::open(stack).await;
    let (mut offsets, mut walked) = (vec![0; want.len()], vec![Vec::new(); want.len()]);
    let mut answers = 0;
    while walked.iter().map(Vec::len).ne(want.iter().map(Vec::len)) {
        let results = multi_fetch(&mut socket, topic, &offsets, Isolation::ReadUncommitted).await;
        answers += 1;
        for ((result, offset), walked) in results.into_iter().zip(&mut offsets).zip(&mut walked) {
            let fetched = result.unwrap();
            assert!(answers > 1 || !fetched.messages.is_empty(), "every partition advances");
            *offset = fetched.next_offset;
            walked.extend(fetched.messages);
        }
    }
    assert!(answers > 3, "{answers} answers of 256 KiB for 1.5 MB");
    for (partition, (walked, want)) in walked.iter().zip(&want).enumerate() {
        assert_same(walked, want, &format!("partition {partition}"));
    }

    let asked = socket.send(multi_fetch_request(topic, &offsets, Isolation::ReadUncommitted)).await;
    let last = timed(Record::of("last"));
    let written = Instant::now();
    let at = write(kafka, topic, 4, std::slice::from_ref(&last)).await;
    let (sequence, answer) = socket.receive().await;
    assert_eq!(sequence, asked);
    assert!(written.elapsed().as_millis() < u128::from(WAIT_MS) / 2, "{:?}", written.elapsed());
    for (partition, result) in results(answer).into_iter().enumerate() {
        let read = result.unwrap().messages;
        let want = if partition == 4 { messages(&at, std::slice::from_ref(&last)) } else { Vec::new() };
        assert_same(&read, &want, &format!("the wait for partition {partition}"));
    }
}

#[tokio::test]
async fn committed_fetch_leaves_out_aborted_transactions() {
    let (kafka, stack) = shared(Way::Tunnel).await;
    let topic = &kafka.topic("committed", 2, &[FOREVER]).await.unwrap();
    let record = |value| [timed(Record::of(value))];
    let transact = async |partition, value, outcome| {
        let how = Write { transaction: Some(outcome), ..Write::default() };
        let offsets = kafka.produce(topic, partition, &record(value), how).await.unwrap();
        messages(&offsets, &record(value))
    };
    let first = transact(0, "committed", Outcome::Commit).await;
    transact(0, "aborted", Outcome::Abort).await;
    transact(1, "aborted", Outcome::Abort).await;
    let last = messages(&write(kafka, topic, 0, &record("last")).await, &record("last"));

    let mut socket = Socket::open(stack).await;
    let mut offsets = vec![0, 0];
    let mut walked = vec![Vec::new(), Vec::new()];
    while walked[0].len() < 2 {
        let results = multi_fetch(&mut socket, topic, &offsets, Isolation::ReadCommitted).await;
        for ((result, offset), walked) in results.into_iter().zip(&mut offsets).zip(&mut walked) {
            let fetched = result.unwrap();
            *offset = fetched.next_offset;
            walked.extend(fetched.messages);
        }
    }
    assert_eq!(walked, [[first, last].concat(), Vec::new()]);

    let asked = socket.send(multi_fetch_request(topic, &offsets, Isolation::ReadCommitted)).await;
    transact(0, "aborted", Outcome::Abort).await;
    let new = transact(1, "committed", Outcome::Commit).await;
    let (sequence, answer) = socket.receive().await;
    assert_eq!(sequence, asked);
    let read = results(answer).into_iter().map(|result| result.unwrap().messages);
    assert_eq!(read.collect::<Vec<_>>(), [Vec::new(), new]);
}

#[tokio::test]
async fn an_error_concerns_its_partition_alone_and_ends_the_wait() {
    let (kafka, stack) = shared(Way::Tunnel).await;
    let topic = &kafka.topic("errors", 1, &[FOREVER]).await.unwrap();
    write(kafka, topic, 0, &[timed(Record::of("one"))]).await;
    let mut socket = Socket::open(stack).await;
    let begun = Instant::now();
    // The end, a partition that does not exist, and an offset beyond the end.
    let partitions = [(0, 1), (7, 0), (0, 5)];
    let partitions = partitions
        .map(|(partition, offset)| PartitionOffset { topic: topic.clone(), partition, offset })
        .to_vec();
    let max_wait_ms = Some(WAIT_MS);
    let command = CmdKafkaMultiFetch { partitions, max_wait_ms, ..Default::default() };
    let results = results(socket.ask(Req::CmdKafkaMultiFetch(command)).await);
    assert!(begun.elapsed().as_millis() < u128::from(WAIT_MS) / 2, "{:?}", begun.elapsed());
    let [end, missing, beyond] = &results[..] else { panic!("{results:?}") };
    assert_eq!(end.as_ref().map(|end| (end.messages.len(), end.next_offset)), Ok((0, 1)));
    let missing = missing.as_ref().unwrap_err();
    assert_eq!((missing.code, missing.reason()), (3, Reason::NotFound));
    let beyond = beyond.as_ref().unwrap_err();
    assert_eq!((beyond.code, beyond.reason()), (1, Reason::OffsetOutOfRange));
    assert_eq!((beyond.earliest_offset, beyond.latest_offset), (Some(0), Some(1)));

    let Resp::ErrorResp(error) = socket.ask(Req::CmdKafkaMultiFetch(Default::default())).await else {
        panic!("a command without partitions succeeds")
    };
    assert_eq!(error.reason(), Reason::InvalidCommand);
    assert!(error.message.contains("expected at least 1"), "{error:?}");
}

#[tokio::test]
async fn offsets_of_many_partitions_come_in_one_answer() {
    let (kafka, stack) = shared(Way::Tunnel).await;
    let topic = &kafka.topic("offsets", 2, &[FOREVER]).await.unwrap();
    let at = |timestamp| Record { timestamp: Some(timestamp), ..Record::of("x") };
    write(kafka, topic, 0, &[at(START), at(START + 20), at(START + 10)]).await;
    let aborted = Write { transaction: Some(Outcome::Abort), ..Write::default() };
    kafka.produce(topic, 1, &[at(START)], aborted).await.unwrap();
    let has_marker = async || match kafka.watermarks(topic, 1) {
        Ok((0, 2)) => Ok(()),
        other => Err(format!("{other:?}")),
    };
    until("the aborted transaction has its marker", Duration::from_secs(10), has_marker).await;

    let mut socket = Socket::open(stack).await;
    let asked = [(0, -2), (0, -1), (0, START + 5), (0, START + 21), (0, -3), (1, -1), (9, -1), (0, -4)];
    let found = list_offsets(&mut socket, topic, &asked, Isolation::ReadUncommitted).await;
    let listed = |offset, timestamp| Ok(ListedOffset { offset, timestamp, error: None });
    let (found, failed) = found.split_at(6);
    assert_eq!(
        found,
        [
            listed(0, -1),
            listed(3, -1),
            listed(1, START + 20),
            listed(-1, -1),
            listed(1, START + 20),
            // The record and its marker.
            listed(2, -1),
        ]
    );
    let codes: Vec<_> = failed.iter().map(|error| error.as_ref().unwrap_err().code).collect();
    assert_eq!(codes, [3, 42]);
}

#[tokio::test]
async fn metadata_has_the_topics_asked_for() {
    let (kafka, stack) = shared(Way::Tunnel).await;
    let topic = &kafka.topic("described", 3, &[FOREVER]).await.unwrap();
    let mut socket = Socket::open(stack).await;
    let named = CmdKafkaMetadata { topics: vec![topic.clone(), "absent".to_owned()], ..Default::default() };
    let KafkaMetadataResp { topics, more } = metadata(&mut socket, named).await;
    let [absent, found] = &topics[..] else { panic!("{topics:?}") };
    assert!(!more);
    assert_eq!(
        (&*absent.name, absent.error.as_ref().map(ErrorResp::reason)),
        ("absent", Some(Reason::NotFound))
    );
    assert_eq!((&found.name, &found.error), (topic, &None));
    let leader = found.partitions[0].leader;
    let (replicas, in_sync_replicas) = (vec![leader], vec![leader]);
    let partition = |partition| PartitionMetadata {
        partition,
        leader,
        replicas: replicas.clone(),
        in_sync_replicas: in_sync_replicas.clone(),
    };
    assert_eq!(found.partitions, [partition(0), partition(1), partition(2)]);

    let begins =
        CmdKafkaMetadata { prefixes: vec![topic.clone(), "absent".to_owned()], ..Default::default() };
    assert_eq!(metadata(&mut socket, begins).await.topics, std::slice::from_ref(found));

    let all = metadata(&mut socket, CmdKafkaMetadata::default()).await;
    let names: Vec<_> = all.topics.iter().map(|topic| &topic.name).collect();
    assert!(names.is_sorted() && names.contains(&topic), "{names:?}");
    assert!(!names.iter().any(|name| name.starts_with("__")), "{names:?}");
}

async fn multi_fetch(
    socket: &mut Socket,
    topic: &str,
    offsets: &[i64],
    isolation: Isolation,
) -> Vec<Result<KafkaFetchResp, ErrorResp>> {
    results(socket.ask(multi_fetch_request(topic, offsets, isolation)).await)
}

fn multi_fetch_request(topic: &str, offsets: &[i64], isolation: Isolation) -> Req {
    let place = |(partition, &offset)| PartitionOffset { topic: topic.to_owned(), partition, offset };
    Req::CmdKafkaMultiFetch(CmdKafkaMultiFetch {
        partitions: (0..).zip(offsets).map(place).collect(),
        max_wait_ms: Some(WAIT_MS),
        isolation: isolation.into(),
        ..Default::default()
    })
}

fn results(answer: Resp) -> Vec<Result<KafkaFetchResp, ErrorResp>> {
    let Resp::KafkaMultiFetchResp(answer) = answer else { panic!("{answer:?} instead of messages") };
    let result = |result| match result {
        PartitionFetched { fetched: Some(fetched), error: None } => Ok(fetched),
        PartitionFetched { fetched: None, error: Some(error) } => Err(error),
        other => panic!("{other:?} is not one of the two"),
    };
    answer.results.into_iter().map(result).collect()
}

pub(crate) async fn list_offsets(
    socket: &mut Socket,
    topic: &str,
    asked: &[(i32, i64)],
    isolation: Isolation,
) -> Vec<Result<ListedOffset, ErrorResp>> {
    let offset =
        |&(partition, timestamp)| CmdKafkaListOffset { topic: topic.to_owned(), partition, timestamp };
    let offsets = asked.iter().map(offset).collect();
    let command = CmdKafkaListOffsets { offsets, isolation: isolation.into() };
    match socket.ask(Req::CmdKafkaListOffsets(command)).await {
        Resp::KafkaListOffsetsResp(answer) => {
            let result = |listed: ListedOffset| match listed.error {
                Some(error) => Err(error),
                None => Ok(listed),
            };
            answer.results.into_iter().map(result).collect()
        }
        other => panic!("{other:?} instead of offsets"),
    }
}

async fn metadata(socket: &mut Socket, command: CmdKafkaMetadata) -> KafkaMetadataResp {
    match socket.ask(Req::CmdKafkaMetadata(command)).await {
        Resp::KafkaMetadataResp(answer) => answer,
        other => panic!("{other:?} instead of topics"),
    }
}

async fn write(kafka: &Kafka, topic: &str, partition: i32, records: &[Record]) -> Vec<i64> {
    kafka.produce(topic, partition, records, Write::default()).await.unwrap()
}

fn timed(record: Record) -> Record {
    Record { timestamp: Some(START), ..record }
}
