//! Committed reads, and commands that read many partitions.

use std::time::{Duration, Instant};

use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{
    CmdKafkaFetch, CmdKafkaListOffset, CmdKafkaListOffsets, CmdKafkaMultiFetch, ErrorResp, Isolation,
    KafkaFetchResp, ListedOffset, PartitionFetched, PartitionOffset,
};
use sluicegate_stack::kafka::{Outcome, Record, Write};
use sluicegate_stack::socket::{self, Socket};
use sluicegate_stack::waiting::until;
use sluicegate_stack::way::Way;

use crate::pool::Config;
use crate::reading::reference::{FOREVER, START, assert_same, messages};
use crate::reading::shared;

/// More than all answers of a test take.
const WAIT_MS: u32 = 20_000;
const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn committed_fetch_leaves_out_aborted_transactions() {
    let (kafka, stack) = shared(Way::Tunnel).await;
    let topic = &kafka.topic("committed", 2, &[FOREVER]).await.unwrap();
    let record = |value| [Record { timestamp: Some(START), ..Record::of(value) }];
    let transact = async |partition, value, outcome| {
        let how = Write { transaction: Some(outcome), ..Write::default() };
        let offsets = kafka.produce(topic, partition, &record(value), how).await.unwrap();
        messages(&offsets, &record(value))
    };
    let first = transact(0, "committed", Outcome::Commit).await;
    transact(0, "aborted", Outcome::Abort).await;
    transact(1, "aborted", Outcome::Abort).await;
    let last = kafka.produce(topic, 0, &record("last"), Write::default()).await.unwrap();
    let last = messages(&last, &record("last"));

    let mut socket = Socket::open(&stack).await;
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
async fn committed_read_waits_until_a_transaction_commits() {
    let (kafka, _) = shared(Way::Tunnel).await;
    let stack = Config::new(Way::Tunnel).await.alone().await;
    let topic = kafka.topic("stable", 1, &[FOREVER]).await.unwrap();
    let record = |value| [Record { timestamp: Some(START), ..Record::of(value) }];
    let (mut committed, mut all) = (Socket::open(&stack).await, Socket::open(&stack).await);
    let (isolation, max_wait_ms) = (Isolation::ReadCommitted.into(), Some(25_000));
    let fetch = CmdKafkaFetch { topic: topic.clone(), isolation, max_wait_ms, ..Default::default() };
    let asked = committed.send(Req::CmdKafkaFetch(fetch)).await;

    let aborted = kafka.begin(Write::default()).await.unwrap();
    let lost = aborted.write(&topic, 0, &record("aborted")).await.unwrap();
    assert_same(&all.fetch(&topic, 0, 0).await.unwrap(), &messages(&lost, &record("aborted")), "uncommitted");
    aborted.end(Outcome::Abort).await.unwrap();
    let open = kafka.begin(Write::default()).await.unwrap();
    let offsets = open.write(&topic, 0, &record("committed")).await.unwrap();
    let want = messages(&offsets, &record("committed"));
    assert_same(&all.fetch(&topic, 0, offsets[0]).await.unwrap(), &want, "uncommitted");
    // Kafka has answered the fetch that waits, and has another one.
    let requests = async || stack.bridge.count("sluicegate_tail_requests_total ", "").await.unwrap();
    let before = requests().await;
    let asked_again = async || match requests().await {
        requests if requests > before => Ok(()),
        requests => Err(format!("{requests} requests")),
    };
    until("Kafka is asked again", SOON * 2, asked_again).await;
    // A session answers its commands in the order in which they are ready.
    committed.list_offset(&topic, 0, -1).await.unwrap();

    open.end(Outcome::Commit).await.unwrap();
    let ended = Instant::now();
    let (sequence, answer) = committed.receive().await;
    assert_eq!(sequence, asked);
    assert_same(&socket::messages(answer).unwrap(), &want, "committed");
    assert!(ended.elapsed() < SOON, "{:?}", ended.elapsed());
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
