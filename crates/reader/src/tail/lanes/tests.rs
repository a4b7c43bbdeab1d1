//! Logs on their lanes, without sockets.

use super::*;
use std::ops::Range;

use proptest::prelude::*;

fn logs(request: Option<LaneRequest<char>>) -> Vec<(char, i64)> {
    request.map(|request| request.logs).unwrap_or_default()
}

fn join(lanes: &mut Lanes<char>, log: char, offset: i64) -> Option<usize> {
    lanes.join(&log, offset, None).1
}

#[test]
fn callers_of_a_log_share_one_request() {
    let mut lanes = Lanes::default();
    assert_eq!(join(&mut lanes, 'a', 5), Some(0));
    assert_eq!(logs(lanes.next(0, Instant::now())), [('a', 5)]);
    for _ in 0..10_000 {
        assert_eq!(join(&mut lanes, 'a', 5), None);
    }
    for _ in 0..=10_000 {
        assert!(lanes.has_callers(&'a'));
        lanes.leave(&'a', 5);
    }
    assert!(!lanes.has_callers(&'a'));
}

#[test]
fn log_that_joins_waits_on_another_lane_until_an_earlier_one_takes_it() {
    let mut lanes = Lanes::default();
    join(&mut lanes, 'a', 5);
    let first = lanes.next(0, Instant::now()).expect("a request");
    assert_eq!(join(&mut lanes, 'b', 1), Some(1));
    let second = lanes.next(1, Instant::now()).expect("a request");
    assert_eq!(second.logs, [('b', 1)]);
    assert_eq!(join(&mut lanes, 'c', 1), Some(2));
    let third = lanes.next(2, Instant::now()).expect("a request");
    assert!(third.wait < second.wait && second.wait < first.wait);
    assert_eq!(
        logs(lanes.next(1, Instant::now())),
        [('b', 1), ('c', 1)],
        "the second lane takes the third's"
    );
    assert_eq!(
        logs(lanes.next(0, Instant::now())),
        [('a', 5), ('b', 1), ('c', 1)],
        "the first lane takes all"
    );
    assert_eq!(
        (lanes.next(1, Instant::now()), lanes.next(2, Instant::now())),
        (None, None),
        "the others have nothing left"
    );
    assert_eq!(join(&mut lanes, 'd', 1), Some(1), "and are free again");
}

#[test]
fn logs_that_find_no_free_lane_join_the_next_request() {
    let mut lanes = Lanes::default();
    for (index, log) in ['a', 'b', 'c'].into_iter().enumerate() {
        assert_eq!(join(&mut lanes, log, 0), Some(index));
        assert_eq!(logs(lanes.next(index, Instant::now())), [(log, 0)]);
    }
    assert_eq!((join(&mut lanes, 'd', 0), join(&mut lanes, 'e', 0)), (None, None));
    assert_eq!(logs(lanes.next(2, Instant::now())), [('c', 0), ('d', 0), ('e', 0)]);
}

#[test]
fn request_reads_from_the_lowest_offset() {
    let mut lanes = Lanes::default();
    join(&mut lanes, 'a', 5);
    assert_eq!(join(&mut lanes, 'a', 9), None, "the lane has not sent its request yet");
    assert_eq!(logs(lanes.next(0, Instant::now())), [('a', 5)]);
    assert_eq!(join(&mut lanes, 'a', 9), None);
    assert_eq!(join(&mut lanes, 'a', 3), Some(1), "no request covers a lower offset");
    assert_eq!(logs(lanes.next(1, Instant::now())), [('a', 3)]);
}

#[test]
fn log_without_callers_is_not_requested_again() {
    let mut lanes = Lanes::default();
    join(&mut lanes, 'a', 5);
    join(&mut lanes, 'b', 5);
    assert_eq!(logs(lanes.next(0, Instant::now())), [('a', 5), ('b', 5)]);
    lanes.leave(&'a', 5);
    lanes.remove(&'b');
    assert!(!lanes.is_idle());
    assert_eq!(lanes.next(0, Instant::now()), None);
    assert!(lanes.is_idle());
}

#[test]
fn caller_that_comes_back_is_still_watched_for() {
    let mut lanes = Lanes::default();
    join(&mut lanes, 'a', 5);
    assert!(!lanes.is_watched(&'a', 5, Instant::now()), "nothing was sent yet");
    lanes.next(0, Instant::now());
    assert!(lanes.is_watched(&'a', 5, Instant::now()));
    assert!(!lanes.is_watched(&'a', 6, Instant::now()), "that can be beyond the end");
    lanes.leave(&'a', 5);
    assert!(lanes.is_watched(&'a', 5, Instant::now()));
    assert_eq!(join(&mut lanes, 'a', 5), None);
    assert_eq!(logs(lanes.next(0, Instant::now())), [('a', 5)]);
    lanes.remove(&'a');
    assert!(!lanes.is_watched(&'a', 5, Instant::now()), "it has records");
}

#[test]
fn nobody_relies_on_an_answer_that_is_overdue() {
    let (mut lanes, now) = (Lanes::default(), Instant::now());
    join(&mut lanes, 'a', 5);
    let wait = lanes.next(0, now).expect("a request").wait;
    assert!(lanes.is_watched(&'a', 5, now + wait));
    assert!(!lanes.is_watched(&'a', 5, now + wait + OVERDUE));
}

#[test]
fn one_probe_answers_all_whose_wait_ends_soon() {
    let (mut lanes, now) = (Lanes::default(), Instant::now());
    let wait = |millis| Some(now + Duration::from_millis(millis));
    let (first, _) = lanes.join(&'a', 5, wait(0));
    let (second, _) = lanes.join(&'b', 5, wait(90));
    lanes.join(&'c', 5, wait(5_000));
    assert!(lanes.prove(&'a', first, now));
    let probe = lanes.next_probe(now).expect("a request");
    assert_eq!(probe.logs, [('a', 5), ('b', 5)]);
    assert_eq!(probe.wait, Duration::ZERO);
    assert!(probe.number > second);
    assert!(!lanes.prove(&'b', second, now + Duration::from_millis(90)), "its probe is under way");
    assert_eq!(lanes.next_probe(now + Duration::from_millis(90)), None);
}

#[test]
fn probe_does_not_answer_who_comes_later() {
    let (mut lanes, now) = (Lanes::default(), Instant::now());
    let (first, _) = lanes.join(&'a', 5, Some(now));
    lanes.prove(&'a', first, now);
    lanes.next_probe(now);
    let (later, _) = lanes.join(&'a', 5, Some(now));
    assert!(!lanes.prove(&'a', later, now), "one probe at a time");
    let next = lanes.next_probe(now).expect("a request");
    assert!(next.number > later);
    assert_eq!(lanes.next_probe(now), None);
    let (last, _) = lanes.join(&'a', 5, Some(now));
    assert!(lanes.prove(&'a', last, now), "it was free");
}

/// Lanes with a crowd of settled logs on the first one.
fn crowded(now: Instant) -> Lanes<u32> {
    let mut lanes = Lanes::default();
    for log in 0..1_000 {
        lanes.join(&log, 5, None);
    }
    assert_eq!(lanes.next(0, now).expect("a request").logs.len(), 1_000);
    lanes
}

/// A record has arrived at a log, and its callers come back. Gives the lane that they start.
fn written(lanes: &mut Lanes<u32>, log: u32) -> Option<usize> {
    lanes.remove(&log);
    lanes.join(&log, 6, None).1
}

#[test]
fn long_requests_are_followed_by_a_rest() {
    let now = Instant::now();
    let mut lanes = crowded(now);
    assert_eq!(lanes.next(0, now).expect("a request").interval, Duration::from_millis(20));
    for log in 100..1_000 {
        lanes.leave(&log, 5);
    }
    assert_eq!(lanes.next(0, now).expect("a request").interval, Duration::ZERO, "few logs cost little");
}

#[test]
fn logs_of_a_crowd_stay_on_their_short_lane_while_records_arrive() {
    let mut now = Instant::now();
    let mut lanes = crowded(now);
    for _ in 0..10 {
        now += YOUNG / 2;
        // Its request is all of the second lane, and has returned.
        lanes.remove(&7);
        assert_eq!(lanes.next(1, now), None);
        assert_eq!(lanes.join(&7, 6, None).1, Some(1));
        assert_eq!(lanes.next(1, now).expect("a request").logs, [(7, 6)]);
        // Another record has ended it.
        assert_eq!(lanes.next(0, now).expect("a request").logs.len(), 999);
    }
    now += YOUNG;
    assert_eq!(lanes.next(0, now).expect("a request").logs.len(), 1_000, "the log is silent again");
    assert_eq!(lanes.next(1, now), None);
}

#[test]
fn log_of_a_crowd_that_finds_no_free_lane_waits_for_the_shortest() {
    let now = Instant::now();
    let mut lanes = crowded(now);
    assert_eq!(written(&mut lanes, 7), Some(1));
    lanes.next(1, now);
    assert_eq!(written(&mut lanes, 8), Some(2));
    lanes.next(2, now);
    assert_eq!(written(&mut lanes, 9), None);
    assert_eq!(lanes.next(0, now).expect("a request").logs.len(), 997);
    assert_eq!(lanes.next(2, now).expect("a request").logs, [(8, 6), (9, 6)]);
}

#[test]
fn log_of_a_crowd_that_starts_the_first_lane_is_read_there() {
    let (mut lanes, now) = (Lanes::default(), Instant::now());
    lanes.join(&0, 5, None);
    lanes.next(0, now);
    for log in 1..1_000 {
        lanes.join(&log, 5, None);
    }
    assert_eq!(lanes.next(1, now).expect("a request").logs.len(), 999);
    lanes.leave(&0, 5);
    assert_eq!(lanes.next(0, now), None, "all others are young and read");
    assert_eq!(lanes.join(&0, 5, None).1, Some(0));
    assert!(lanes.next(0, now).expect("a request").logs.contains(&(0, 5)));
    check(&lanes);
}

/// An event at some logs, or at a lane.
#[derive(Debug, Clone)]
enum Act {
    Join(Range<u32>, i64),
    Leave(Range<u32>),
    Tell(Range<u32>),
    Return(usize),
    Pass(u64),
}

fn act() -> impl Strategy<Value = Act> {
    let some =
        || (0..300_u32, prop_oneof![1..3_u32, 1..300_u32]).prop_map(|(from, count)| from..from + count);
    prop_oneof![
        3 => (some(), 0..3_i64).prop_map(|(logs, offset)| Act::Join(logs, offset)),
        1 => some().prop_map(Act::Leave),
        1 => some().prop_map(Act::Tell),
        4 => (0..LANES).prop_map(Act::Return),
        1 => (0..1_500_u64).prop_map(Act::Pass),
    ]
}

/// Each log with callers is read from the lowest offset on, or will be soon: a lane starts, or the shortest one returns.
fn check(lanes: &Lanes<u32>) {
    let [.., last] = lanes.lanes;
    let is_soon = last != Lane::Free || lanes.lanes.contains(&Lane::Starting);
    for (log, waiting) in &lanes.logs {
        let is_read = waiting.lowest().is_none_or(|offset| waiting.is_read_from(offset));
        assert!(is_read || is_soon, "log {log}: {waiting:?} of {:?}", lanes.lanes);
        for (reads, lane) in waiting.lanes.iter().zip(&lanes.lanes) {
            assert!(
                reads.is_none() || matches!(lane, Lane::Sent { .. }),
                "log {log} on a lane that is {lane:?}"
            );
        }
    }
}

proptest! {
    #[test]
    fn no_log_is_left_out(acts in proptest::collection::vec(act(), 0..40)) {
        let (mut lanes, mut now) = (Lanes::default(), Instant::now());
        for act in acts {
            match act {
                Act::Join(logs, offset) => logs.for_each(|log| _ = lanes.join(&log, offset, None)),
                Act::Leave(logs) => logs.for_each(|log| {
                    if let Some(offset) = lanes.lowest(&log) {
                        lanes.leave(&log, offset);
                    }
                }),
                Act::Tell(logs) => logs.for_each(|log| lanes.remove(&log)),
                Act::Return(lane) if lanes.lanes[lane] != Lane::Free => drop(lanes.next(lane, now)),
                Act::Return(_) => {}
                Act::Pass(millis) => now += Duration::from_millis(millis),
            }
            check(&lanes);
        }
    }
}
