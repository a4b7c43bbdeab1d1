//! Fetches from many logs of a scripted messaging system: shares, large records and waits.

use sluicegate_backend::Fault;

use super::*;
use crate::testing::records::Never;
use crate::testing::script::{self, Script};

const FETCH: MultiFetch = MultiFetch {
    max_bytes: 100_000,
    wait: Duration::ZERO,
    min_bytes: 0,
    fill: false,
    committed: false,
    decode: false,
    source: ClientKey::UNKNOWN,
};

fn place(topic: &str, partition: i32) -> Place<'_> {
    (Log { topic, partition }, 0)
}

async fn fetch(places: &[Place<'_>], fetch: MultiFetch) -> Vec<Result<Chunk, CommandError>> {
    Script::cluster(1).0.multi_fetch(places, fetch, &mut ()).await
}

fn bytes(results: &[Result<Chunk, CommandError>]) -> usize {
    used(results.iter().flatten())
}

#[tokio::test]
async fn short_logs_advance_beside_a_long_one() {
    let mut places = vec![place("0.1000000", 100)];
    places.extend((0..9).map(|_| place("0.1", 100)));
    let results = fetch(&places, FETCH).await;
    let counts: Vec<usize> = results.iter().map(|result| result.as_ref().unwrap().count).collect();
    assert_eq!(counts[1..], [1; 9]);
    assert!((90_000..=100_000).contains(&bytes(&results)), "the long one has what is left: {counts:?}");
    let next = results[0].as_ref().unwrap().next_offset;
    assert_eq!(usize::try_from(next), Ok(counts[0]), "none is skipped or repeated");
}

#[tokio::test]
async fn long_logs_share_the_answer() {
    let places: Vec<_> = (0..10).map(|_| place("0.1000000", 100)).collect();
    for result in fetch(&places, FETCH).await {
        let len = result.unwrap().messages.len();
        assert!((9_000..=10_000).contains(&len), "{len}");
    }
}

#[tokio::test]
async fn large_records_take_turns_and_delay_no_small_one() {
    let places = [place("0.9", 70_000), place("0.9", 100), place("0.9", 70_000), place("0.9", 100)];
    let mut delivered = [0; 4];
    for _ in 0..64 {
        let results = fetch(&places, FETCH).await;
        assert!(bytes(&results) <= FETCH.max_bytes);
        for (result, delivered) in results.iter().zip(&mut delivered) {
            let read = result.as_ref().unwrap();
            assert_eq!(usize::try_from(read.next_offset), Ok(read.count));
            *delivered += read.count;
        }
    }
    assert_eq!((delivered[1], delivered[3]), (64 * 9, 64 * 9));
    assert_eq!(delivered[0] + delivered[2], 64);
    assert!(delivered[0] > 0 && delivered[2] > 0, "{delivered:?}");
}

#[tokio::test]
async fn busy_logs_do_not_keep_back_a_large_record() {
    let mut places = vec![place("0.9", 40_000)];
    places.extend((0..9).map(|_| place("0.1000000", 100)));
    for _ in 0..9 {
        let results = fetch(&places, FETCH).await;
        assert_eq!(results[0].as_ref().unwrap().count, 1);
        assert!(bytes(&results) <= FETCH.max_bytes + 50_000);
    }
}

#[tokio::test]
async fn record_larger_than_the_answer_is_delivered_alone() {
    let places = [place("0.9", 300_000), place("0.0", 1)];
    let results = fetch(&places, FETCH).await;
    assert_eq!(results[0].as_ref().unwrap().count, 1);
}

#[tokio::test(start_paused = true)]
async fn partition_without_an_answer_delays_others_and_ends_a_wait_soon() {
    for (wait, other, count) in [(Duration::ZERO, "0", 1), (Duration::from_secs(10), "0.0", 0)] {
        let (start, cluster) = (Instant::now(), Script::cluster(1).0);
        let places = [place("60000", 1), place(other, 1)];
        let results = cluster.multi_fetch(&places, MultiFetch { wait, ..FETCH }, &mut Never).await;
        assert_eq!(start.elapsed(), PATIENCE);
        assert_eq!(results[0].as_ref().unwrap_err().fault, Fault::Transient);
        assert_eq!(results[1].as_ref().unwrap().count, count);
    }
}

#[tokio::test(start_paused = true)]
async fn wait_ends_with_its_time_or_an_error() {
    let waiting = MultiFetch { wait: Duration::from_secs(10), ..FETCH };
    let start = Instant::now();
    let cluster = Script::cluster(1).0;
    let mut never = Never;
    let results = cluster.multi_fetch(&[place("0.0", 1), place("0.0", 1)], waiting, &mut never).await;
    assert_eq!((bytes(&results), start.elapsed()), (0, waiting.wait));
    let results = cluster.multi_fetch(&[place("0.0", 1), place("x", 1)], waiting, &mut never).await;
    assert_eq!((results[1].as_ref().unwrap_err().fault, start.elapsed()), (Fault::Invalid, waiting.wait));
}

/// The end of each log (-1: unknown, -2: an error), the number of fetches, and the time they took.
async fn ends_beside_others(
    places: &[Place<'_>],
    reservation: &mut dyn AnswerReservation,
) -> (Vec<i64>, usize, Duration) {
    let waiting = MultiFetch { wait: Duration::from_secs(10), ..FETCH };
    let (cluster, script) = Script::cluster(1);
    script.state().watched = Some(WATCHED);
    let start = Instant::now();
    let results = cluster.multi_fetch(places, waiting, reservation).await;
    let ends = results.iter().map(|result| result.as_ref().map_or(-2, |read| read.ends.end)).collect();
    (ends, script.state().fetches, start.elapsed())
}

#[tokio::test(start_paused = true)]
async fn logs_at_whose_ends_others_wait_are_not_looked_at() {
    let places = [place("0.0", WATCHED), place("0.0", WATCHED)];
    let wait = Duration::from_secs(10) + script::PROOF;
    assert_eq!(ends_beside_others(&places, &mut Never).await, (vec![0, 0], 0, wait), "their ends are proven");
    assert_eq!(ends_beside_others(&places, &mut ()).await, (vec![0, 0], 2, Duration::ZERO), "without a wait");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_said_of_logs_that_were_not_read_before_there_was_enough() {
    let places = [place("0.5", 1), place("0.0", WATCHED)];
    assert_eq!(ends_beside_others(&places, &mut Never).await, (vec![5, -1], 1, Duration::ZERO));
    let silent = [place("60000", 1), place("0.0", WATCHED)];
    assert_eq!(ends_beside_others(&silent, &mut Never).await, (vec![-2, -1], 1, PATIENCE));
}

/// Partitions at whose ends others wait.
const WATCHED: i32 = 7;
