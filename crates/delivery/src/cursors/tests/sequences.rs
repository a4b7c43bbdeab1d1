//! Bounds, and what follows from several events.

use super::*;
use crate::subscribe::Table;

/// Cursors of several partitions, each of which has put a question unless there are too many.
fn asking(partitions: i32) -> Cursors {
    let mut cursors = subscribed(Subscribe::default(), partitions);
    ask(&mut cursors);
    cursors
}

/// Lets cursors ask until none may. Gives their indices.
fn ask(cursors: &mut Cursors) -> Vec<usize> {
    let mut asked = Vec::new();
    while let Some(Turn { index, fetch }) = cursors.next_turn(1000, *NOW) {
        cursors.handle(index, Event::Turn { fetch, version: LEADER, recent: None }, *NOW);
        let effects = std::iter::from_fn(|| cursors.next_effect());
        asked.extend(effects.filter_map(|effect| match effect {
            Effect::Ask { index, .. } => Some(index),
            _ => None,
        }));
    }
    asked
}

fn answer(cursors: &mut Cursors, index: usize, answer: Answer) {
    cursors.handle(index, Event::Answered(answer, LEADER), *NOW);
}

#[test]
fn questions_are_bounded() {
    let mut cursors = asking(100);
    assert_eq!(cursors.asked, MAX_ASKED);
    answer(&mut cursors, 0, Answer::Kept);
    assert_eq!(ask(&mut cursors), [0], "records that are kept are read first");
    answer(&mut cursors, 1, Answer::Nothing);
    assert_eq!(ask(&mut cursors), [MAX_ASKED], "the next in line");
    for index in (0..=MAX_ASKED).filter(|index| *index != 1) {
        let answered = if index < 6 { Answer::Records(Ok(read(0, 1))) } else { Answer::Nothing };
        answer(&mut cursors, index, answered);
    }
    assert_eq!((cursors.asked, cursors.spare.len()), (0, MAX_SPARE));
    assert!(!cursors.may_ask(), "as long as records that are not kept for all wait for the client");
    cursors.put_back(*NOW);
    assert_eq!(ask(&mut cursors).len(), MAX_SPARE, "nothing was read that is kept");
}

#[test]
fn records_for_the_client_alone_are_dropped_where_they_do_not_fit() {
    for (count, max_bytes, is_held) in [(2, 20, true), (2, 19, false), (1, 0, true)] {
        let mut cursors = asking(1);
        answer(&mut cursors, 0, Answer::Records(Ok(read(0, count))));
        let turn = cursors.next_turn(max_bytes, *NOW);
        assert_eq!((turn.is_none(), cursors.in_hand().is_some()), (is_held, is_held));
        assert!(cursors.spare.is_empty());
    }
}

#[test]
fn end_is_told_once_it_was_looked_for_twice() {
    let mut cursors = asking(1);
    let ends = Ends { start: 0, stable: 2, end: 2 };
    answer(&mut cursors, 0, Answer::Records(Ok(Fetched { ends, ..read(0, 2) })));
    assert!(cursors.next_turn(1000, *NOW).is_none());
    apply(&mut cursors, "take");
    assert_eq!(outputs(&mut cursors), "Ready: delivery up to 2, moved, delivered 2 records, 20 bytes");
    assert_eq!(ask(&mut cursors), [0]);
    answer(&mut cursors, 0, nothing(2, 2, 2));
    assert_eq!(outputs(&mut cursors), "AtEnd: caught up at 2, wait");
}

#[test]
fn moves_past_what_is_no_record_are_told_in_time() {
    let mut cursors = asking(1);
    for next in [5, 9] {
        answer(&mut cursors, 0, nothing(next, 20, 20));
        assert_eq!(outputs(&mut cursors), "Ready: moved, progress in 900 ms");
        ask(&mut cursors);
        cursors.tell_progress();
        assert_eq!(outputs(&mut cursors), format!("Asking: delivery up to {next}"));
    }
}

#[test]
fn client_that_skips_is_told_and_waits_at_the_end() {
    let mut cursors = subscribed(Subscribe { skips: true, ..Default::default() }, 1);
    let ends = Ends { start: 0, stable: 9, end: 9 };
    turn(&mut cursors, LEADER, Some(Fetched { ends, ..read(0, 2) }));
    apply(&mut cursors, "take");
    let told = "Ready: delivery up to 2, skip 2 to 9: Lag, moved, delivered 2 records, 20 bytes";
    assert_eq!(outputs(&mut cursors), told);
    // The rest is left out by the messaging system: a look that finds nothing has found the end.
    ask(&mut cursors);
    answer(&mut cursors, 0, nothing(9, 20, 20));
    assert_eq!(outputs(&mut cursors), "AtEnd: skip 9 to 20: Lag, caught up at 20, moved, wait");
}

#[test]
fn transaction_is_told_once_until_the_cursor_moves() {
    let mut cursors = subscribed(Subscribe { committed: true, ..Default::default() }, 1);
    ask(&mut cursors);
    answer(&mut cursors, 0, nothing(0, 0, 5));
    assert_eq!(outputs(&mut cursors), "AtEnd: caught up at 0, blocked until 5, moved, wait");
    apply(&mut cursors, "blocked");
    assert_eq!(outputs(&mut cursors), "AtEnd: moved, wait");
    cursors.handle(0, Event::Woken { end: None }, *NOW);
    // It was aborted, and another one is open.
    let ends = Ends { start: 0, stable: 5, end: 12 };
    turn(&mut cursors, LEADER, Some(Fetched { ends, ..read(0, 5) }));
    apply(&mut cursors, "take");
    let told = "AtEnd: delivery up to 5, moved, wait end seen at 5, delivered 5 records, 50 bytes";
    assert_eq!(outputs(&mut cursors), told);
    cursors.handle(0, Event::StillAtEnd { start: -1, end: 12 }, *NOW);
    assert_eq!(outputs(&mut cursors), "AtEnd: caught up at 5, blocked until 12, wait");
}

/// The end of a log that an election has shortened: only a read tells.
#[test]
fn table_reads_again_where_its_log_ends_before_it() {
    let table = Some(Table { away: Duration::ZERO, max_away: Duration::from_secs(100) });
    for (end, want) in [(2, "Ready:"), (3, "AtEnd: wait start seen at 0 end seen at 3 25000 ms")] {
        let mut cursors = subscribed(Subscribe { table, committed: true, ..Default::default() }, 1);
        ask(&mut cursors);
        answer(&mut cursors, 0, Answer::Records(Ok(read(0, 3))));
        turn(&mut cursors, LEADER, Some(read(0, 3)));
        apply(&mut cursors, "take");
        for event in ["turn", "end"] {
            apply(&mut cursors, event);
        }
        outputs(&mut cursors);
        cursors.handle(0, Event::StillAtEnd { start: -1, end }, *NOW);
        assert_eq!(outputs(&mut cursors), want, "{end}");
    }
}

#[test]
fn pauses_grow_up_to_a_bound() {
    for (fault, want) in [
        (UNREACHABLE, [75, 150, 300, 600, 1200, 2400, 3750, 3750]),
        (Fault::NotFound, [75, 150, 300, 600, 1000, 1000, 1000, 1000]),
    ] {
        let mut cursors = asking(1);
        for (attempt, millis) in want.into_iter().enumerate() {
            answer(&mut cursors, 0, failed(fault));
            let told = if attempt == 0 { "retrying, " } else { "" };
            assert_eq!(outputs(&mut cursors), format!("Sleeping: {told}sleep {millis} ms"));
            apply(&mut cursors, "due");
            ask(&mut cursors);
        }
    }
}

#[test]
fn log_must_be_missing_without_a_break() {
    let at = |seconds| Moment { at: NOW.after(Duration::from_secs(seconds)), ..*NOW };
    let mut cursors = asking(1);
    for (seconds, fault, state) in [
        (0, Fault::NotFound, State::Sleeping),
        (9, UNREACHABLE, State::Sleeping),
        (10, Fault::NotFound, State::Sleeping),
        (19, Fault::OffsetOutOfRange, State::Sleeping),
        (20, Fault::NotFound, State::Ended),
    ] {
        let failed = CommandError { ends: Some((0, 0)), ..error(fault) };
        cursors.handle(0, Event::Answered(Answer::Records(Err(failed)), LEADER), at(seconds));
        assert_eq!(cursors.all()[0].state, state, "after {seconds} s");
        outputs(&mut cursors);
        apply(&mut cursors, "due");
        ask(&mut cursors);
    }
}

#[test]
fn topic_keeps_the_id_that_is_learned_first() {
    let mut cursors = Cursors::new(Subscribe::default(), System::Kafka, Arc::default());
    cursors.add(vec![SubscribedTopic { topic: TOPIC.into(), topic_id: None, partitions: vec![(0, 0)] }]);
    cursors.client.grant(Some(&Topics::default()));
    outputs(&mut cursors);
    turn(&mut cursors, LEADER, Some(read(0, 2)));
    apply(&mut cursors, "take");
    outputs(&mut cursors);
    turn(&mut cursors, LEADER, Some(read(2, 2)));
    outputs(&mut cursors);
    apply(&mut cursors, "take, other topic");
    assert_eq!(outputs(&mut cursors), "Asking: ask for the topic's id");
}

#[test]
fn topic_with_too_many_partitions_ends_the_subscription() {
    let mut cursors = subscribed(Subscribe::default(), 1);
    let most = i32::try_from(MAX_PARTITIONS).unwrap();
    cursors.grow(&TOPIC.into(), None, &(0..most).collect::<Vec<_>>());
    assert_eq!((outputs(&mut cursors), cursors.all().len()), ("Ready: subscribed".into(), MAX_PARTITIONS));
    cursors.grow(&TOPIC.into(), None, &(0..most).collect::<Vec<_>>());
    assert_eq!(outputs(&mut cursors), "Ready:");
    cursors.grow(&TOPIC.into(), None, &(0..=most).collect::<Vec<_>>());
    assert_eq!(
        (outputs(&mut cursors), cursors.all().len()),
        ("Ready: ended: Invalid".into(), MAX_PARTITIONS)
    );
}

#[test]
fn position_never_goes_back() {
    let mut cursors = subscribed(Subscribe::default(), 1);
    turn(&mut cursors, LEADER, Some(read(0, 3)));
    apply(&mut cursors, "take");
    outputs(&mut cursors);
    ask(&mut cursors);
    answer(&mut cursors, 0, nothing(1, 9, 9));
    assert_eq!(cursors.all()[0].next, 3);
}

#[test]
fn records_that_were_deleted_unread_are_not_told_as_lost() {
    let mut cursors = subscribed(Subscribe::default(), 1);
    turn(&mut cursors, LEADER, Some(read(0, 3)));
    for event in ["take", "turn", "deleted"] {
        apply(&mut cursors, event);
    }
    assert!(outputs(&mut cursors).contains("skip 3 to 8: Deleted"));
    apply(&mut cursors, "due");
    // Another leader has written the records that were deleted.
    for event in ["turn, new leader", "epoch ends here"] {
        apply(&mut cursors, event);
    }
    assert_eq!((cursors.all()[0].state, cursors.all()[0].next), (State::Ready, 8));
}

#[test]
fn place_is_not_held_against_a_leader_that_is_known_no_more() {
    let mut cursors = subscribed(Subscribe::default(), 1);
    // This bridge learns of the leader by the read.
    for event in ["turn", "end, new leader"] {
        apply(&mut cursors, event);
    }
    assert_eq!(outputs(&mut cursors), "Ready: ask for records from 0");
    apply(&mut cursors, "turn, new leader");
    assert_eq!(outputs(&mut cursors), "InHand:", "the end of the earlier leader's records says nothing");
}

#[test]
fn records_are_not_of_a_leader_that_lacks_them() {
    let mut cursors = Cursors::new(Subscribe::default(), System::Kafka, Arc::default());
    let (topic_id, partitions) = (LEADER.topic_id, vec![(0, 3)]);
    cursors.add(vec![SubscribedTopic { topic: TOPIC.into(), topic_id, partitions }]);
    cursors.client.grant(Some(&Topics::default()));
    outputs(&mut cursors);
    for event in ["turn", "nothing, earlier end", "due"] {
        apply(&mut cursors, event);
    }
    outputs(&mut cursors);
    apply(&mut cursors, "turn, new leader");
    assert_eq!(outputs(&mut cursors), "InHand:", "it is not asked where the records of its epoch end");
}

#[test]
fn partitions_of_another_topic_are_not_added() {
    let mut cursors = subscribed(Subscribe::default(), 1);
    for (topic_id, partitions) in [(OTHER_TOPIC.topic_id, 1), (LEADER.topic_id, 2), (None, 3)] {
        cursors.grow(&TOPIC.into(), topic_id, &[0, 1, 2][..partitions]);
        assert_eq!(cursors.all().len(), partitions);
    }
    cursors.grow(&TOPIC.into(), OTHER_TOPIC.topic_id, &[0, 1, 2, 3]);
    assert_eq!(cursors.all().len(), 3);
}
