//! Coordinators of groups that move, load, fail, or hold requests.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::{
    HeartbeatResponse, JoinGroupResponse, OffsetCommitResponse, RequestKind, TopicName,
};
use sluicegate_fair_share::ClientKey;
use sluicegate_reader::{GroupMember, GroupOffset, Join, Joined, ReadError, Reader};

use crate::scripted::{Broker, Key, Step};
use crate::support::{nowhere, reader, until};

fn member() -> GroupMember {
    GroupMember { group: "g".into(), instance: None, id: "m".into(), generation: 3 }
}

async fn beat(reader: &Reader, within: Duration) -> Result<(), ReadError> {
    reader.heartbeat(&member(), (Instant::now() + within).into()).await
}

async fn join(reader: &Reader) -> Result<Joined, ReadError> {
    let join = Join {
        member: &member(),
        session_timeout: Duration::from_secs(6),
        rebalance_timeout: Duration::from_secs(60),
        protocols: &["range"],
        subscription: &Bytes::new(),
    };
    reader.join_group(ClientKey::default(), join, (Instant::now() + Duration::from_secs(60)).into()).await
}

/// Each error is that of the first try, and the coordinator's is nobody's.
#[tokio::test]
async fn coordinator_is_found_again_where_that_helps() {
    for (found, told, tries, finds) in [
        // It loads the group: it is asked again, and not looked for.
        (0, Some(14), 2, 1),
        // It is not the coordinator any more, or was lost.
        (0, Some(16), 2, 2),
        (0, Some(15), 2, 2),
        (0, None, 2, 2),
        // There is none yet.
        (15, Some(0), 1, 2),
    ] {
        let (searches, beats) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let broker = Broker::start(move |asked| match &asked.kind {
            RequestKind::FindCoordinator(_) => {
                let error = if searches.fetch_add(1, Ordering::SeqCst) == 0 { found } else { 0 };
                asked.coordinator(error, asked.broker)
            }
            // A lost connection is replaced once without a word.
            RequestKind::Heartbeat(_) => match (beats.fetch_add(1, Ordering::SeqCst), told) {
                (0, Some(error)) => asked.answer(&HeartbeatResponse::default().with_error_code(error)),
                (0 | 1, None) => Step::Close(Vec::new()),
                _ => asked.usual(),
            },
            _ => asked.usual(),
        })
        .await;
        let reader = broker.reader();
        let what = format!("{found} and {told:?}");
        assert!(beat(&reader, Duration::from_secs(2)).await.is_ok(), "{what}");
        let lost = usize::from(told.is_none());
        let beats = broker.count(Key::Heartbeat);
        assert_eq!((beats, broker.count(Key::FindCoordinator)), (tries + lost, finds), "{what}");
        assert!(beat(&reader, Duration::from_secs(2)).await.is_ok(), "{what}");
        assert_eq!(broker.count(Key::FindCoordinator), finds, "{what}: it is known");
    }
}

#[tokio::test]
async fn errors_of_groups_name_them_and_come_in_time() {
    let refusing = |error| {
        Broker::start(move |asked| match &asked.kind {
            RequestKind::FindCoordinator(_) => asked.coordinator(error, asked.broker),
            RequestKind::Heartbeat(_) => asked.answer(&HeartbeatResponse::default().with_error_code(27)),
            _ => asked.usual(),
        })
    };
    for (error, want) in [
        (30, "GROUP_AUTHORIZATION_FAILED: group g"),
        (15, "COORDINATOR_NOT_AVAILABLE: group g"),
        (0, "REBALANCE_IN_PROGRESS: group g"),
    ] {
        let broker = refusing(error).await;
        let started = Instant::now();
        let failed = beat(&broker.reader(), Duration::from_millis(500)).await.expect_err("an error");
        assert_eq!(failed.to_string(), want);
        assert!(started.elapsed() < Duration::from_secs(1), "{want} after {:?}", started.elapsed());
    }
    let gone = nowhere();
    let broker = Broker::of(Key::FindCoordinator, move |asked| asked.coordinator(0, gone)).await;
    let failed = beat(&broker.reader(), Duration::from_millis(500)).await.expect_err("no coordinator");
    assert!(failed.is_unavailable() && failed.retriable(), "{failed}");
    let failed = beat(&reader(&[gone]), Duration::from_secs(5)).await.expect_err("no broker");
    assert!(matches!(failed, ReadError::Unreachable { .. }), "{failed}");
}

/// A broker reads nothing else of a connection whose member waits, and one that holds a request may be the coordinator no
/// more.
#[tokio::test]
async fn members_that_join_hold_up_nobody_and_follow_their_coordinator() {
    let held = Broker::of(Key::JoinGroup, |_| Step::Silence).await;
    let (first, searches) = (held.address, AtomicUsize::new(0));
    let next = Broker::start(move |asked| match &asked.kind {
        RequestKind::FindCoordinator(_) if searches.fetch_add(1, Ordering::SeqCst) == 0 => {
            asked.coordinator(0, first)
        }
        RequestKind::JoinGroup(_) => {
            let joined = JoinGroupResponse::default().with_generation_id(4).with_leader("m".into());
            asked.answer(&joined.with_member_id("m".into()).with_protocol_name(Some("range".into())))
        }
        _ => asked.usual(),
    })
    .await;
    let reader = next.patient_reader();
    let joins = async { join_all((0..20).map(|_| join(&reader))).await };
    let beats = async {
        until(|| held.count(Key::JoinGroup) == 20).await;
        let started = Instant::now();
        for _ in 0..20 {
            assert!(beat(&reader, Duration::from_secs(1)).await.is_ok());
        }
        started.elapsed()
    };
    let (joined, took) = tokio::join!(joins, beats);
    assert!(took < Duration::from_secs(1), "{took:?}");
    for joined in joined {
        let Ok(Joined::Member { generation, leads, .. }) = joined else { panic!("{joined:?}") };
        assert_eq!((generation, leads), (4, Some(Vec::new())));
    }
}

#[tokio::test]
async fn invalid_positions_are_refused_without_the_others() {
    let broker = Broker::of(Key::OffsetCommit, |asked| {
        let partition = OffsetCommitResponsePartition::default().with_partition_index(1).with_error_code(12);
        let topic = OffsetCommitResponseTopic::default().with_name(TopicName("t".into()));
        let topics = vec![topic.with_partitions(vec![partition])];
        asked.answer(&OffsetCommitResponse::default().with_topics(topics))
    })
    .await;
    let offset = |topic: &str, metadata: usize| GroupOffset {
        topic: topic.into(),
        partition: 1,
        offset: 5,
        metadata: "x".repeat(metadata).into(),
    };
    let offsets = [offset("a b", 0), offset("t", 9), offset("t", 40_000)];
    let by = (Instant::now() + Duration::from_secs(2)).into();
    let results = broker.reader().commit_offsets(&member(), &offsets, by).await.expect("results");
    let texts: Vec<_> = results.into_iter().map(|of| of.expect_err("an error").to_string()).collect();
    assert!(texts[0].starts_with("INVALID_TOPIC_EXCEPTION: "), "{texts:?}");
    assert_eq!(texts[1], "OFFSET_METADATA_TOO_LARGE: partition 1 of topic t");
    assert_eq!(texts[2], "OFFSET_METADATA_TOO_LARGE: metadata of 40000 bytes: expected at most 32767");
}
