//! Logs on their long polls, without sockets.

use std::ops::Range;

use proptest::prelude::*;

use super::*;

/// The logs of a poll's next request.
fn next(polls: &mut LongPolls<char>, index: usize) -> Vec<(char, i64)> {
    polls.next(index, Instant::now()).map(|request| request.logs).unwrap_or_default()
}

fn join(polls: &mut LongPolls<char>, log: char, offset: i64) -> Option<usize> {
    polls.join(&log, offset, None).1
}

#[test]
fn callers_of_a_log_share_one_request() {
    let mut polls = LongPolls::default();
    assert_eq!(join(&mut polls, 'a', 5), Some(0));
    assert_eq!(next(&mut polls, 0), [('a', 5)]);
    for _ in 0..10_000 {
        assert_eq!(join(&mut polls, 'a', 5), None);
    }
    for _ in 0..=10_000 {
        assert!(polls.has_callers(&'a'));
        polls.leave(&'a', 5);
    }
    assert!(!polls.has_callers(&'a'));
}

#[test]
fn log_that_joins_waits_on_another_lane_until_an_earlier_one_takes_it() {
    let mut polls = LongPolls::default();
    join(&mut polls, 'a', 5);
    let first = polls.next(0, Instant::now()).expect("a request");
    assert_eq!(join(&mut polls, 'b', 1), Some(1));
    let second = polls.next(1, Instant::now()).expect("a request");
    assert_eq!(second.logs, [('b', 1)]);
    assert_eq!(join(&mut polls, 'c', 1), Some(2));
    let third = polls.next(2, Instant::now()).expect("a request");
    assert!(third.wait < second.wait && second.wait < first.wait);
    assert_eq!(next(&mut polls, 1), [('b', 1), ('c', 1)], "the second poll takes the third's");
    assert_eq!(next(&mut polls, 0), [('a', 5), ('b', 1), ('c', 1)], "the first poll takes all");
    assert!(next(&mut polls, 1).is_empty() && next(&mut polls, 2).is_empty(), "the others have nothing left");
    assert_eq!(join(&mut polls, 'd', 1), Some(1), "and are free again");
}

#[test]
fn logs_that_find_no_free_lane_join_the_next_request() {
    let mut polls = LongPolls::default();
    for (index, log) in ['a', 'b', 'c'].into_iter().enumerate() {
        assert_eq!(join(&mut polls, log, 0), Some(index));
        assert_eq!(next(&mut polls, index), [(log, 0)]);
    }
    assert_eq!((join(&mut polls, 'd', 0), join(&mut polls, 'e', 0)), (None, None));
    assert_eq!(next(&mut polls, 2), [('c', 0), ('d', 0), ('e', 0)]);
}

#[test]
fn request_reads_from_the_lowest_offset() {
    let mut polls = LongPolls::default();
    join(&mut polls, 'a', 5);
    assert_eq!(join(&mut polls, 'a', 9), None, "the poll has not sent its request yet");
    assert_eq!(next(&mut polls, 0), [('a', 5)]);
    assert_eq!(join(&mut polls, 'a', 9), None);
    assert_eq!(join(&mut polls, 'a', 3), Some(1), "no request covers a lower offset");
    assert_eq!(next(&mut polls, 1), [('a', 3)]);
}

#[test]
fn log_without_callers_is_not_requested_again() {
    let mut polls = LongPolls::default();
    join(&mut polls, 'a', 5);
    join(&mut polls, 'b', 5);
    assert_eq!(next(&mut polls, 0), [('a', 5), ('b', 5)]);
    polls.leave(&'a', 5);
    polls.remove(&'b');
    assert!(!polls.is_idle());
    assert_eq!(polls.next(0, Instant::now()), None);
    assert!(polls.is_idle());
}

#[test]
fn caller_that_comes_back_is_still_watched_for_until_the_answer_is_overdue() {
    let (mut polls, now) = (LongPolls::default(), Instant::now());
    join(&mut polls, 'a', 5);
    assert!(!polls.is_watched(&'a', 5, now), "nothing was sent yet");
    let wait = polls.next(0, now).expect("a request").wait;
    let is_watched = |polls: &LongPolls<char>, offset, at| polls.is_watched(&'a', offset, at);
    assert!(is_watched(&polls, 5, now + wait) && !is_watched(&polls, 5, now + wait + OVERDUE));
    assert!(!is_watched(&polls, 6, now), "that can be beyond the end");
    polls.leave(&'a', 5);
    assert!(is_watched(&polls, 5, now));
    assert_eq!(join(&mut polls, 'a', 5), None);
    assert_eq!(next(&mut polls, 0), [('a', 5)]);
    polls.remove(&'a');
    assert!(!is_watched(&polls, 5, now), "it has records");
}

#[test]
fn one_probe_answers_all_whose_wait_ends_soon() {
    let (mut polls, now) = (LongPolls::default(), Instant::now());
    let wait = |millis| Some(now + Duration::from_millis(millis));
    let (first, _) = polls.join(&'a', 5, wait(0));
    let (second, _) = polls.join(&'b', 5, wait(90));
    polls.join(&'c', 5, wait(5_000));
    assert!(polls.prove(&'a', first, now));
    let probe = polls.next_probe(now).expect("a request");
    assert_eq!(probe.logs, [('a', 5), ('b', 5)]);
    assert_eq!(probe.wait, Duration::ZERO);
    assert!(probe.number > second);
    assert!(!polls.prove(&'b', second, now + Duration::from_millis(90)), "its probe is under way");
    assert_eq!(polls.next_probe(now + Duration::from_millis(90)), None);
}

#[test]
fn probe_does_not_answer_who_comes_later() {
    let (mut polls, now) = (LongPolls::default(), Instant::now());
    let (first, _) = polls.join(&'a', 5, Some(now));
    polls.prove(&'a', first, now);
    polls.next_probe(now);
    let (later, _) = polls.join(&'a', 5, Some(now));
    assert!(!polls.prove(&'a', later, now), "one probe at a time");
    let next = polls.next_probe(now).expect("a request");
    assert!(next.number > later);
    assert_eq!(polls.next_probe(now), None);
    let (last, _) = polls.join(&'a', 5, Some(now));
    assert!(polls.prove(&'a', last, now), "it was free");
}

/// LongPolls with a crowd of settled logs on the first one.
fn crowded(now: Instant) -> LongPolls<u32> {
    let mut polls = LongPolls::default();
    for log in 0..1_000 {
        polls.join(&log, 5, None);
    }
    assert_eq!(polls.next(0, now).expect("a request").logs.len(), 1_000);
    polls
}

/// A record has arrived at a log, and its callers come back. Gives the long poll that they start.
fn written(polls: &mut LongPolls<u32>, log: u32) -> Option<usize> {
    polls.remove(&log);
    polls.join(&log, 6, None).1
}

#[test]
fn long_requests_are_followed_by_a_rest() {
    let now = Instant::now();
    let mut polls = crowded(now);
    assert_eq!(polls.next(0, now).expect("a request").interval, Duration::from_millis(20));
    for log in 100..1_000 {
        polls.leave(&log, 5);
    }
    assert_eq!(polls.next(0, now).expect("a request").interval, Duration::ZERO, "few logs cost little");
}

#[test]
fn logs_of_a_crowd_stay_on_their_short_lane_while_records_arrive() {
    let mut now = Instant::now();
    let mut polls = crowded(now);
    for _ in 0..10 {
        now += YOUNG / 2;
        // Its request is all of the second long poll, and has returned.
        polls.remove(&7);
        assert_eq!(polls.next(1, now), None);
        assert_eq!(polls.join(&7, 6, None).1, Some(1));
        assert_eq!(polls.next(1, now).expect("a request").logs, [(7, 6)]);
        // Another record has ended it.
        assert_eq!(polls.next(0, now).expect("a request").logs.len(), 999);
    }
    now += YOUNG;
    assert_eq!(polls.next(0, now).expect("a request").logs.len(), 1_000, "the log is silent again");
    assert_eq!(polls.next(1, now), None);
}

#[test]
fn log_of_a_crowd_that_finds_no_free_lane_waits_for_the_shortest() {
    let now = Instant::now();
    let mut polls = crowded(now);
    assert_eq!(written(&mut polls, 7), Some(1));
    polls.next(1, now);
    assert_eq!(written(&mut polls, 8), Some(2));
    polls.next(2, now);
    assert_eq!(written(&mut polls, 9), None);
    assert_eq!(polls.next(0, now).expect("a request").logs.len(), 997);
    assert_eq!(polls.next(2, now).expect("a request").logs, [(8, 6), (9, 6)]);
}

#[test]
fn log_of_a_crowd_that_starts_the_first_lane_is_read_there() {
    let (mut polls, now) = (LongPolls::default(), Instant::now());
    polls.join(&0, 5, None);
    polls.next(0, now);
    for log in 1..1_000 {
        polls.join(&log, 5, None);
    }
    assert_eq!(polls.next(1, now).expect("a request").logs.len(), 999);
    polls.leave(&0, 5);
    assert_eq!(polls.next(0, now), None, "all others are young and read");
    assert_eq!(polls.join(&0, 5, None).1, Some(0));
    assert!(polls.next(0, now).expect("a request").logs.contains(&(0, 5)));
    check(&polls);
}

/// An event at some logs, or at a long poll.
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
        4 => (0..LONG_POLLS).prop_map(Act::Return),
        1 => (0..1_500_u64).prop_map(Act::Pass),
    ]
}

/// Each log with callers is read from the lowest offset on, or will be soon: a long poll starts, or the shortest one
/// returns.
fn check(polls: &LongPolls<u32>) {
    let [.., last] = polls.polls;
    let is_soon = last != LongPoll::Free || polls.polls.contains(&LongPoll::Starting);
    for (log, waiting) in &polls.logs {
        let is_read = waiting.lowest().is_none_or(|offset| waiting.is_read_from(offset));
        assert!(is_read || is_soon, "log {log}: {waiting:?} of {:?}", polls.polls);
        for (reads, poll) in waiting.polls.iter().zip(&polls.polls) {
            assert!(
                reads.is_none() || matches!(poll, LongPoll::Sent { .. }),
                "log {log} on a poll that is {poll:?}"
            );
        }
    }
}

proptest! {
    #[test]
    fn no_log_is_left_out(acts in proptest::collection::vec(act(), 0..40)) {
        let (mut polls, mut now) = (LongPolls::default(), Instant::now());
        for act in acts {
            match act {
                Act::Join(logs, offset) => logs.for_each(|log| _ = polls.join(&log, offset, None)),
                Act::Leave(logs) => logs.for_each(|log| {
                    if let Some(offset) = polls.lowest(&log) {
                        polls.leave(&log, offset);
                    }
                }),
                Act::Tell(logs) => logs.for_each(|log| polls.remove(&log)),
                Act::Return(poll) if polls.polls[poll] != LongPoll::Free => drop(polls.next(poll, now)),
                Act::Return(_) => {}
                Act::Pass(millis) => now += Duration::from_millis(millis),
            }
            check(&polls);
        }
    }
}
