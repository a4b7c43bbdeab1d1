//! Commands for many partitions or topics.

use sluicegate_protocol::wire::Fields;
use sluicegate_protocol::{
    CmdKafkaListOffset, CmdKafkaListOffsets, CmdKafkaMetadata, CmdKafkaMultiFetch, KafkaListOffsetsResp,
    KafkaMetadataResp, KafkaMultiFetchResp, ListedOffset, PartitionFetched, PartitionMetadata, TopicMetadata,
};

use super::*;
use crate::OffsetQuery;
use crate::nats::{self, SequenceQuery};

#[tokio::test]
async fn multi_fetch_has_a_result_for_each_place() {
    let fetched = |offsets: &[i64], next_offset| {
        let message = |offset: &i64| KafkaMessage { offset: *offset, ..Default::default() };
        let messages = offsets.iter().map(message).collect();
        let last_stable_offset = Some(90);
        KafkaFetchResp { messages, next_offset, last_stable_offset, ..Default::default() }
    };
    let results = vec![of(fetched(&[40, 41], 44)), failed(3, false), of(fetched(&[], 7)), failed(6, true)];
    let options = FetchOptions::new().max_bytes(9).min_bytes(2).isolation(Isolation::ReadCommitted).decode();
    let options = options.filter(Filter::value("/a"));
    let places = [place("a", 0, 40), place("b", 1, 0), place("a", 2, 7), place("a", 3, 0)];
    let (client, server) = play(vec![multi(results)]).await;
    let got = client.multi_fetch(&places, options).await.unwrap();
    let read = got[0].as_ref().unwrap();
    assert_eq!((read.messages.len(), read.next_offset, read.last_stable_offset), (2, 44, Some(90)));
    assert!(matches!(got[1], Err(Error::Command { code: 3, .. })), "{got:?}");
    assert_eq!(got[2].as_ref().unwrap().next_offset, 7);
    // Messages are not kept back for a retry.
    assert!(matches!(got[3], Err(Error::Command { code: 6, retriable: true, .. })), "{got:?}");
    let want = CmdKafkaMultiFetch {
        partitions: places.to_vec(),
        max_wait_ms: None,
        min_bytes: 2,
        max_bytes: 9,
        isolation: Isolation::ReadCommitted.into(),
        decode: true,
        filters: vec![RecordFilter { pointer: Some("/a".into()), ..Default::default() }],
    };
    assert_eq!(server.await.unwrap(), [Req::CmdKafkaMultiFetch(want)]);
}

#[tokio::test]
async fn list_offsets_has_a_result_for_each_query() {
    let query = |topic: &str, at| OffsetQuery { topic: topic.into(), partition: 2, at };
    let queries = [query("a", At::Latest), query("b", At::Millis(5)), query("a", At::MaxTimestamp)];
    let found = |offset, timestamp| ListedOffset { offset, timestamp, error: None };
    let missing = ListedOffset { error: error(3, false), ..Default::default() };
    let answer = offsets(vec![found(9, -1), missing, found(-1, -1)]);
    let (client, server) = play(vec![answer]).await;
    let got = client.list_offsets(&queries, Isolation::ReadCommitted).await.unwrap();
    let listed = |offset, timestamp| Ok(crate::ListedOffset { offset, timestamp });
    assert_eq!((&got[0], &got[2]), (&listed(Some(9), None), &listed(None, None)));
    assert!(matches!(got[1], Err(Error::Command { code: 3, .. })), "{got:?}");
    let command =
        |topic: &str, timestamp| CmdKafkaListOffset { topic: topic.into(), partition: 2, timestamp };
    let offsets = vec![command("a", -1), command("b", 5), command("a", -3)];
    let want = CmdKafkaListOffsets { offsets, isolation: Isolation::ReadCommitted.into() };
    assert_eq!(server.await.unwrap(), [Req::CmdKafkaListOffsets(want)]);
}

#[tokio::test]
async fn list_offsets_splits_long_lists() {
    let found = |offset| ListedOffset { offset, timestamp: 1, error: None };
    let answers = vec![offsets((0..1000).map(found).collect()), offsets(vec![found(1000)])];
    let (client, _server) = play(answers).await;
    let queries: Vec<_> =
        (0..1001).map(|partition| OffsetQuery { topic: "t".into(), partition, at: At::Latest }).collect();
    let got = client.list_offsets(&queries, Isolation::ReadUncommitted).await.unwrap();
    let got: Vec<_> = got.into_iter().map(|listed| listed.unwrap().offset.unwrap()).collect();
    assert_eq!(got, (0..1001).collect::<Vec<_>>());
}

#[tokio::test]
async fn metadata_follows_pages() {
    let first = described("a", vec![partition(0, 1), partition(1, -1)]);
    let missing = TopicMetadata { name: "gone".into(), error: error(3, false), ..Default::default() };
    let pages = vec![page(vec![first, described("b", vec![])], true), page(vec![missing], false)];
    let (client, server) = play(pages).await;
    let topics = client.metadata(&["gone"], &["a", "b"]).await.unwrap();
    assert_eq!(topics.iter().map(|topic| topic.name.as_str()).collect::<Vec<_>>(), ["a", "b", "gone"]);
    let partitions = topics[0].partitions.as_ref().unwrap();
    assert_eq!(partitions.iter().map(|p| p.leader).collect::<Vec<_>>(), [Some(1), None]);
    let replicas: Vec<_> = partitions[0].replicas.iter().map(|r| (r.broker, r.in_sync)).collect();
    assert_eq!(replicas, [(1, true), (2, false)]);
    assert!(matches!(topics[2].partitions, Err(Error::Command { code: 3, .. })), "{topics:?}");
    let want = |after: &str| {
        Req::CmdKafkaMetadata(CmdKafkaMetadata {
            topics: vec!["gone".into()],
            prefixes: vec!["a".into(), "b".into()],
            after: after.into(),
        })
    };
    assert_eq!(server.await.unwrap(), [want(""), want("b")]);
}

#[tokio::test]
async fn wrong_number_of_results_and_endless_pages_are_errors() {
    let one = ListedOffset::default();
    let same = || page(vec![described("a", vec![])], true);
    let answers = vec![multi(vec![]), offsets(vec![one; 2]), same(), same(), page(vec![], true)];
    let (client, _server) = play(answers).await;
    let places = [place("t", 0, 0)];
    let fetched = client.multi_fetch(&places, FetchOptions::new()).await;
    assert!(matches!(fetched, Err(Error::Protocol { .. })), "{fetched:?}");
    let query = [OffsetQuery { topic: "t".into(), partition: 0, at: At::Latest }];
    let listed = client.list_offsets(&query, Isolation::ReadUncommitted).await;
    assert!(matches!(listed, Err(Error::Protocol { .. })), "{listed:?}");
    for _ in 0..2 {
        let topics = client.metadata(&[], &[]).await;
        assert!(matches!(topics, Err(Error::Protocol { .. })), "{topics:?}");
    }
}

#[tokio::test]
async fn temporary_errors_of_single_results_are_retried() {
    let busy = ListedOffset { error: error(6, true), ..Default::default() };
    let found = ListedOffset { offset: 4, timestamp: -1, error: None };
    let leaderless = TopicMetadata { name: "t".into(), error: error(5, true), ..Default::default() };
    let answers = vec![
        offsets(vec![found.clone(), busy]),
        offsets(vec![found.clone(), found]),
        multi(vec![failed(6, true)]),
        multi(vec![of(KafkaFetchResp::default())]),
        page(vec![leaderless], false),
        page(vec![described("t", vec![])], false),
    ];
    let (client, server) = play(answers).await;
    let query = OffsetQuery { topic: "t".into(), partition: 0, at: At::Latest };
    let listed = client.list_offsets(&[query.clone(), query], Isolation::ReadUncommitted).await.unwrap();
    assert!(listed.iter().all(Result::is_ok), "{listed:?}");
    let fetched = client.multi_fetch(&[place("t", 0, 0)], FetchOptions::new()).await.unwrap();
    assert!(fetched[0].is_ok(), "{fetched:?}");
    let topics = client.metadata(&["t"], &[]).await.unwrap();
    assert!(topics[0].partitions.is_ok(), "{topics:?}");
    assert_eq!(server.await.unwrap().len(), 6);
}

/// Older bridges, and APISIX, answer these words to a command that they do not know, and APISIX to `cmd_empty`. It does
/// not see fields that it does not know, so the client sends both.
#[tokio::test]
async fn older_server_fails_with_command_unsupported() {
    let (client, server) = session(async |mut peer: Peer| {
        let mut fields = Vec::new();
        for sequence in 1..=8 {
            let request = peer.message().await.unwrap().into_data();
            fields.push(Fields::of(&request).map(|field| field.unwrap().0).collect::<Vec<_>>());
            peer.answer(sequence, server::unknown_command()).await;
        }
        fields
    })
    .await;
    let unsupported = |command| Error::CommandUnsupported { command };
    let fetched = client.multi_fetch(&[place("t", 0, 0)], FetchOptions::new()).await;
    assert_eq!(fetched, Err(unsupported("multi-fetch")));
    let query = OffsetQuery { topic: "t".into(), partition: 0, at: At::Latest };
    let listed = client.list_offsets(&[query], Isolation::ReadCommitted).await;
    assert_eq!(listed, Err(unsupported("list offsets")));
    assert_eq!(client.metadata(&[], &[]).await, Err(unsupported("metadata")));
    let mut subscription = client.subscribe(Subscribe::new([crate::Source::new("t")]));
    assert_eq!(subscription.next().await, Some(Err(unsupported("subscribe"))));
    assert_eq!(subscription.next().await, None);

    let nats = client.nats();
    assert_eq!(nats.fetch("orders", 0).await, Err(unsupported("fetch from a stream")));
    let query = SequenceQuery { stream: "orders".into(), at: At::Latest };
    assert_eq!(nats.list_sequences(&[query]).await, Err(unsupported("list sequences")));
    let mut subscription = nats.subscribe(Subscribe::new([nats::Source::new("orders")]));
    assert_eq!(subscription.next().await, Some(Err(unsupported("subscribe to streams"))));
    assert_eq!(nats.publish(vec![PublishMessage::default()]).await, Err(unsupported("publish")));
    let commands = [1004, 1005, 1006, 1007, 1012, 1013, 1014, 1015];
    assert_eq!(server.await.unwrap(), commands.map(|command| [1, 31, command]));
}

fn place(topic: &str, partition: i32, offset: i64) -> PartitionOffset {
    PartitionOffset { topic: topic.into(), partition, offset }
}

fn multi(results: Vec<PartitionFetched>) -> Resp {
    Resp::KafkaMultiFetchResp(KafkaMultiFetchResp { results })
}

fn of(fetched: KafkaFetchResp) -> PartitionFetched {
    PartitionFetched { fetched: Some(fetched), error: None }
}

fn failed(code: i32, retriable: bool) -> PartitionFetched {
    PartitionFetched { fetched: None, error: error(code, retriable) }
}

fn error(code: i32, retriable: bool) -> Option<ErrorResp> {
    Some(ErrorResp { code, retriable, ..Default::default() })
}

fn offsets(results: Vec<ListedOffset>) -> Resp {
    Resp::KafkaListOffsetsResp(KafkaListOffsetsResp { results })
}

fn page(topics: Vec<TopicMetadata>, more: bool) -> Resp {
    Resp::KafkaMetadataResp(KafkaMetadataResp { topics, more })
}

fn described(name: &str, partitions: Vec<PartitionMetadata>) -> TopicMetadata {
    TopicMetadata { name: name.into(), partitions, error: None }
}

fn partition(partition: i32, leader: i32) -> PartitionMetadata {
    PartitionMetadata { partition, leader, replicas: vec![1, 2], in_sync_replicas: vec![1] }
}
