//! Chunks that are kept, their age, and the cluster that loses some when there is no room.

use proptest::prelude::*;

use super::*;
use crate::chunk::tests::{chunk, first, positions};

const MAX_AGE: Duration = Duration::from_secs(30);

fn log(topic: &str) -> LogKey {
    LogKey { topic: topic.into(), incarnation: 1, partition: 0, committed: false }
}

/// Memory of this size, one cluster's part of it, and the time.
fn shared(max_bytes: usize) -> (SharedLog, ClusterLogs, Instant) {
    let shared = SharedLog::new(Limits { max_bytes, max_age: MAX_AGE });
    let logs = shared.add_cluster();
    (shared, logs, Instant::now())
}

/// A chunk of one entry per position, each of 100 bytes.
fn chunk_of(base: i64, next: i64) -> Chunk {
    let entries: Vec<_> = (base..next).map(|position| (position, 88)).collect();
    chunk(base, next, &entries)
}

fn read(logs: &ClusterLogs, topic: &str, position: i64, now: Instant) -> Option<Vec<i64>> {
    logs.read(&log(topic), 1, position, AnswerSize::of_bytes(10_000), first, now)
        .map(|chunk| positions(&chunk))
}

#[test]
fn kept_records_are_read_from_any_position() {
    let (shared, logs, now) = shared(100_000);
    assert_eq!(read(&logs, "a", 0, now), None);
    logs.insert(&log("a"), 1, chunk_of(0, 3), now);
    logs.insert(&log("a"), 1, chunk_of(3, 5), now);
    assert_eq!(read(&logs, "a", 0, now), Some(vec![0, 1, 2, 3, 4]));
    assert_eq!(read(&logs, "a", 4, now), Some(vec![4]));
    assert_eq!(read(&logs, "a", 5, now), None, "the cache never proves the end of a log");
    assert_eq!(read(&logs, "b", 0, now), None);
    assert_eq!(shared.stats().hits, 2);
    // A read of one record passes a chunk that has none.
    let logs = shared.add_cluster();
    logs.insert(&log("a"), 1, chunk(0, 5, &[(0, 88)]), now);
    logs.insert(&log("a"), 1, chunk_of(5, 9), now);
    let size = AnswerSize { bytes: 10_000, entries: 1 };
    let found = logs.read(&log("a"), 1, 3, size, first, now).unwrap();
    assert_eq!((positions(&found), found.next_offset), (vec![5], 6));
}

#[test]
fn edge_is_where_the_next_gap_begins() {
    let (shared, logs, now) = shared(1_000_000);
    for (base, next) in [(0, 3), (3, 5), (6, 8)] {
        logs.insert(&log("a"), 1, chunk_of(base, next), now);
    }
    let edge = |position, enough| logs.edge(&log("a"), 1, position, enough, now);
    assert_eq!((edge(0, 501), edge(0, 500)), (Some(5), None), "500 bytes follow");
    // Records of the chunk in which it begins do not count.
    assert_eq!((edge(1, 201), edge(1, 200)), (Some(5), None));
    assert_eq!((edge(5, 100), edge(8, 100), edge(-1, 100)), (Some(5), Some(8), Some(-1)));
    let covers = |position| logs.covers(&log("a"), 1, position, now);
    assert_eq!((covers(4), covers(5), covers(6)), (true, false, true));
    assert_eq!(shared.stats().hits, 0, "nothing was read");
    for base in 8..100 {
        logs.insert(&log("a"), 1, chunk_of(base, base + 1), now);
    }
    assert_eq!(edge(6, usize::MAX), None, "there are many");
}

#[test]
fn clusters_incarnations_and_isolation_levels_have_logs_of_their_own() {
    let (shared, logs, now) = shared(100_000);
    logs.insert(&log("a"), 1, chunk_of(0, 3), now);
    assert_eq!(read(&shared.add_cluster(), "a", 0, now), None);
    for other in [LogKey { incarnation: 2, ..log("a") }, LogKey { committed: true, ..log("a") }] {
        assert_eq!(logs.read(&other, 1, 0, AnswerSize::of_bytes(1000), first, now), None);
    }
    let after = |topic, partition| (logs.forget(topic, partition), read(&logs, "a", 0, now).is_some()).1;
    assert_eq!([after("b", 0), after("a", 1), after("a", 0)], [true, true, false]);
}

#[test]
fn chunks_expire() {
    let (shared, logs, now) = shared(100_000);
    logs.insert(&log("a"), 1, chunk_of(0, 3), now);
    let last = now + MAX_AGE - Duration::from_millis(1);
    assert!(read(&logs, "a", 0, last).is_some());
    assert_eq!(read(&logs, "a", 0, now + MAX_AGE), None);
    logs.insert(&log("a"), 1, chunk_of(0, 3), now);
    shared.expire(now + MAX_AGE);
    assert_eq!(shared.stats().bytes, 0);
}

#[test]
fn nothing_is_kept_without_room_or_cluster() {
    for room in [0, 100_000] {
        let (shared, logs, now) = shared(room);
        logs.insert(&log("a"), 1, chunk_of(0, 3), now);
        assert_eq!((read(&logs, "a", 0, now).is_some(), shared.stats().bytes > 0), (room > 0, room > 0));
        drop(logs);
        assert_eq!(shared.stats().bytes, 0);
    }
}

#[test]
fn newer_version_replaces_older_chunks() {
    let (_, logs, now) = shared(100_000);
    let at = |version, position| {
        logs.read(&log("a"), version, position, AnswerSize::of_bytes(1000), first, now)
            .map(|chunk| positions(&chunk))
    };
    logs.insert(&log("a"), 1, chunk_of(0, 3), now);
    assert_eq!(at(2, 0), None, "the log can have been truncated since");
    logs.insert(&log("a"), 2, chunk_of(5, 6), now);
    assert_eq!((at(2, 0), at(2, 5)), (None, Some(vec![5])));
    logs.insert(&log("a"), 1, chunk_of(0, 3), now);
    assert_eq!(at(1, 0), None, "an answer of the former leader comes too late");
}

#[test]
fn records_before_the_log_start_are_not_served() {
    let (_, logs, now) = shared(100_000);
    logs.insert(&log("a"), 1, chunk_of(0, 3), now);
    let ends = Ends { start: 2, stable: 9, end: 10 };
    // Learned by a reader of committed entries.
    logs.insert(&LogKey { committed: true, ..log("a") }, 1, Chunk::nothing(9, ends), now);
    logs.insert(&log("a"), 1, Chunk::nothing(10, Ends { start: 1, stable: 8, end: 11 }), now);
    assert_eq!((read(&logs, "a", 1, now), read(&logs, "a", 2, now)), (None, Some(vec![2])));
    let found = logs.read(&log("a"), 1, 2, AnswerSize::of_bytes(1000), first, now).unwrap();
    assert_eq!(found.ends, Ends { start: 2, stable: 9, end: 11 }, "a late answer moves no end back");
}

#[test]
fn only_a_position_within_the_known_ends_refutes_them() {
    let (_, logs, now) = shared(100_000);
    let ends = Ends { start: 0, stable: 3, end: 3 };
    logs.insert(&log("a"), 1, Chunk { ends, ..chunk_of(0, 3) }, now);
    logs.insert(&log("b"), 1, Chunk { ends, ..chunk_of(0, 3) }, now);
    logs.invalidate(&log("a"), 4);
    assert_eq!(read(&logs, "a", 0, now), Some(vec![0, 1, 2]), "a client can ask for any position");
    logs.invalidate(&LogKey { committed: true, ..log("a") }, 3);
    assert_eq!((read(&logs, "a", 0, now), read(&logs, "b", 0, now)), (None, Some(vec![0, 1, 2])));
}

#[test]
fn cluster_that_reads_much_loses_its_own_chunks() {
    let (shared, attacker, now) = shared(20_000);
    let bystander = shared.add_cluster();
    bystander.insert(&log("a"), 1, chunk_of(0, 10), now);
    for base in (0..10_000).step_by(10) {
        attacker.insert(&log("b"), 1, chunk_of(base, base + 10), now);
        assert!(shared.stats().bytes <= 20_000);
    }
    assert_eq!(read(&bystander, "a", 0, now).map(|found| found.len()), Some(10));
    assert_eq!(read(&attacker, "b", 0, now), None, "the oldest chunk of the largest cluster is dropped");
    assert_eq!(read(&attacker, "b", 9_990, now).map(|found| found.len()), Some(10));
}

#[test]
fn waiters_are_counted_while_they_wait() {
    let (shared, logs, _) = shared(0);
    let (tail, waiters) = (logs.tail(), [logs.waiter(), logs.waiter()]);
    assert_eq!((shared.stats().tails, shared.stats().waiters), (1, 2));
    drop((tail, waiters));
    assert_eq!((shared.stats().tails, shared.stats().waiters), (0, 0));
}

proptest! {
    /// Overlapping chunks of one log, in any order: a read gives the log's entries from the position on without a gap,
    /// and the books match what is held.
    #[test]
    fn overlapping_chunks_give_each_entry_once(
        inserts in proptest::collection::vec((0_i64..60, 1_i64..20, 0_u64..40), 1..80),
        max_bytes in 2_000_usize..12_000,
    ) {
        let (shared, logs, start) = shared(max_bytes);
        for (base, len, second) in inserts {
            let now = start + Duration::from_secs(second);
            logs.insert(&log("a"), 1, chunk_of(base, base + len), now);
            prop_assert!(shared.stats().bytes <= max_bytes);
            for position in 0..80 {
                if let Some(found) = read(&logs, "a", position, now) {
                    let want: Vec<i64> = (position..).take(found.len()).collect();
                    prop_assert_eq!(found, want);
                }
            }
        }
        shared.expire(start + Duration::from_secs(100));
        prop_assert_eq!(shared.stats().bytes, 0);
    }
}
