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
    while let Some(Turn { index, fetch }) = cursors.next_turn(1000) {
        cursors.handle(index, Event::Turn { fetch, version: LEADER, recent: None }, *NOW);
        let steps = std::iter::from_fn(|| cursors.next_step());
        let asks = steps.filter(|(_, step)| matches!(step, Step::Ask(_)));
        asked.extend(asks.map(|(index, _)| index));
    }
    asked
}

fn answer(cursors: &mut Cursors, index: usize, answer: Answer) {
    cursors.handle(index, Event::Answered(answer, LEADER), *NOW);
}

/// A state begins each sequence. Events follow, each with what follows from it.
const SEQUENCES: &[(&str, &str)] = &[
    // The end is told once it was looked for twice.
    ("Asking", ""),
    ("last records", "Ready:"),
    ("turn", "InHand:"),
    ("take", "Ready: delivery up to 5"),
    ("turn", "Asking: ask for records from 5"),
    ("end, gap", "AtEnd: caught up at 5, wait end seen at 5"),
    // Positions behind markers and aborted records are told in time.
    ("Asking", ""),
    ("nothing, gap", "Ready: progress in 900 ms"),
    ("turn", "Asking: ask for records from 4"),
    ("progress", "Asking: delivery up to 4"),
    ("end, gap", "Ready: progress in 900 ms"),
    ("progress", "Ready: delivery up to 5"),
    // A transaction is told once until the cursor moves. It is aborted, and another one is open.
    ("Asking", ""),
    ("end, blocked", "AtEnd: caught up at 3, blocked until 9, wait"),
    ("blocked", "AtEnd: wait"),
    ("woken", "Ready:"),
    ("turn, recent, blocked", "InHand:"),
    ("take", "AtEnd: delivery up to 5, wait end seen at 5"),
    ("blocked", "AtEnd: caught up at 5, blocked until 9, wait"),
    // A topic keeps the id that is learned first.
    ("Unread", ""),
    ("turn, recent", "InHand:"),
    ("take", "Ready: delivery up to 5"),
    ("turn, recent", "InHand:"),
    ("take, other topic", "Asking: ask for the topic's id"),
    // Records that were deleted unread are not told as lost. Another leader has written them.
    ("Asking", ""),
    ("deleted", "Sleeping: skip 3 to 8: Deleted, sleep 100 ms"),
    ("due", "Ready:"),
    ("turn, new leader", "Verifying { leader: 2 }: ask for the end of epoch 1"),
    ("epoch ends here", "Ready:"),
    ("turn, new leader", "InHand:"),
    // The end of an earlier leader's records says nothing of a place that was not read.
    ("Unread", ""),
    ("turn", "Asking: ask for records from 3"),
    ("end, new leader", "Ready:"),
    ("turn, new leader", "InHand:"),
    // Records are not of a leader that lacks them: it is not asked where those of its epoch end.
    ("Unread", ""),
    ("turn", "Asking: ask for records from 3"),
    ("nothing, earlier end", "Sleeping: sleep 100 ms"),
    ("due", "Ready:"),
    ("turn, new leader", "InHand:"),
];

#[test]
fn events_lead_from_one_state_to_the_next() {
    let mut cursors = in_state("Asking");
    for (number, (event, want)) in SEQUENCES.iter().enumerate() {
        match want.is_empty() {
            true => cursors = in_state(event),
            false => {
                apply(&mut cursors, event);
                assert_eq!(outputs(&mut cursors), *want, "{event} in row {number}");
            }
        }
    }
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
    cursors.put_back();
    assert_eq!(ask(&mut cursors).len(), MAX_SPARE, "nothing was read that is kept");
}

#[test]
fn records_for_the_client_alone_are_dropped_where_they_do_not_fit() {
    for (count, max_bytes, is_held) in [(2, 20, true), (2, 19, false), (1, 0, true)] {
        let mut cursors = asking(1);
        answer(&mut cursors, 0, Answer::Records(Ok(read(0, count))));
        let turn = cursors.next_turn(max_bytes);
        assert_eq!((turn.is_none(), cursors.in_hand().is_some()), (is_held, is_held));
        assert!(cursors.spare.is_empty());
    }
}

#[test]
fn client_that_skips_is_told_and_waits_at_the_end() {
    let mut cursors = subscribed(Subscribe { skips: true, ..Default::default() }, 1);
    let ends = Ends { start: 0, stable: 9, end: 9 };
    turn(&mut cursors, LEADER, Some(Chunk { ends, ..read(0, 2) }));
    apply(&mut cursors, "take");
    assert_eq!(outputs(&mut cursors), "Ready: delivery up to 2, skip 2 to 9: Lag");
    // The rest is left out by the messaging system: a look that finds nothing has found the end.
    ask(&mut cursors);
    answer(&mut cursors, 0, nothing(9, 20, 20));
    assert_eq!(outputs(&mut cursors), "AtEnd: skip 9 to 20: Lag, caught up at 20, wait");
}

/// The end of a log that an election has shortened: only a read tells.
#[test]
fn table_reads_again_where_its_log_ends_before_it() {
    let table = Some(Table { away: Some(Duration::ZERO), max_away: Duration::from_secs(100) });
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
fn topic_with_too_many_partitions_ends_the_subscription() {
    let mut cursors = subscribed(Subscribe::default(), 1);
    let most = i32::try_from(MAX_PARTITIONS).unwrap();
    cursors.grow(&TOPIC.into(), None, &(0..most).collect::<Vec<_>>());
    assert_eq!((outputs(&mut cursors), cursors.all().len()), ("Ready: subscribed".into(), MAX_PARTITIONS));
    cursors.grow(&TOPIC.into(), None, &(0..most).collect::<Vec<_>>());
    assert_eq!(outputs(&mut cursors), "Ready:");
    cursors.grow(&TOPIC.into(), None, &(0..=most).collect::<Vec<_>>());
    let ended = "Ready: ended: Invalid".into();
    assert_eq!((outputs(&mut cursors), cursors.all().len()), (ended, MAX_PARTITIONS));
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
