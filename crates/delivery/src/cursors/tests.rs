//! The cursors without a runtime.

mod sequences;

use std::sync::LazyLock;
use std::time::SystemTime;

use sluicegate_backend::{CommandError, Fault};
use sluicegate_rights::Topics;
use sluicegate_shared_log::Ends;

use super::*;
use crate::cursor::Answer;

/// States, events, and what follows each: the next state, items, effects. Other events have no effect. An answer to
/// another question counts as none.
const TABLE: &[(&str, &str, &str)] = &[
    ("Unread; Ready; Unasked", "turn", "Asking: ask for records from 3"),
    ("Unread; Ready; Unasked", "turn, recent; turn, recent, blocked", "InHand:"),
    ("Unread", "turn, new leader", "InHand:"),
    ("Ready; Unasked", "turn, new leader", "Verifying { leader: 2 }: ask for the end of epoch 1"),
    ("InHand", "take", "Ready: delivery up to 5"),
    ("InHand", "take, new leader; put back", "Ready:"),
    ("InHand", "take, no leader; take, other topic", "Asking: ask for the topic's id"),
    ("Asking", "kept; records; last records; end, new leader; same topic", "Ready:"),
    // The position never goes back.
    ("Asking", "end; end, read from 1", "AtEnd: caught up at 3, wait end seen at 3"),
    ("Asking", "end, blocked", "AtEnd: caught up at 3, blocked until 9, wait"),
    // A new leader does not know yet that the records before are committed.
    ("Asking", "nothing, earlier end", "Sleeping: sleep 100 ms"),
    ("Asking", "nothing; same topic, no leader; task failed", "Sleeping: sleep 100 ms"),
    ("Asking", "nothing, gap; end, gap", "Ready: progress in 900 ms"),
    ("Asking", "deleted; ends", "Sleeping: skip 3 to 8: Deleted, sleep 100 ms"),
    ("Asking", "out of range", "Asking: ask for the ends: OffsetOutOfRange"),
    ("Asking", "missing; unreachable; topic unreachable", "Sleeping: retrying, sleep 75 ms"),
    ("Asking", "ends, in range; does not begin", "Sleeping: retrying, sleep 75 ms"),
    ("Asking", "throttled", "Sleeping: retrying, sleep 30000 ms"),
    ("Asking", "refused", "Ended: ended: NotAuthorized"),
    ("Asking", "another topic", "Ended: ended: Recreated"),
    ("Asking", "begins", "Ready: subscribed"),
    ("Asking", "unanswered", "Asking: retrying"),
    ("Verifying", "epoch ends here; epoch unknown; epoch refused", "Ready:"),
    ("Verifying", "epoch ends before", "Verifying { leader: 2 }: ask for the ends: OffsetOutOfRange"),
    ("Verifying", "epoch unreachable", "Sleeping: retrying, sleep 75 ms"),
    ("Verifying", "ends; ends, in range", "Ended: ended: OffsetOutOfRange"),
    ("Verifying", "another topic", "Asking: ask for the topic's id"),
    ("Verifying", "task failed", "Sleeping: sleep 100 ms"),
    ("Verifying", "unanswered", "Verifying { leader: 2 }: retrying"),
    ("Asking; Verifying", "end, other topic; failed, other topic", "Asking: ask for the topic's id"),
    ("Asking; Verifying", "begins, other topic", "Asking: ask for the topic's id"),
    ("AtEnd", "woken", "Ready:"),
    ("AtEnd", "woken by a record", "Sleeping: sleep 500 ms"),
    ("AtEnd", "still at end", "AtEnd: wait end seen at 3"),
    ("AtEnd", "blocked", "AtEnd: caught up at 3, blocked until 9, wait"),
    ("Sleeping", "due", "Ready:"),
];

#[test]
fn each_state_reacts_to_its_events_only() {
    for event in names() {
        for (state, mut cursors) in states() {
            let before = cursors.all()[0].state;
            apply(&mut cursors, event);
            let has = |list: &str, name| list.split("; ").any(|one| one == name);
            let want = TABLE.iter().find(|(of, on, _)| has(of, state) && has(on, event));
            let default = || outputs_by_default(before, event);
            let want = want.map_or_else(default, |(.., want)| (*want).to_owned());
            assert_eq!(outputs(&mut cursors), want, "{event} in {state}");
        }
    }
    let mut events = TABLE.iter().flat_map(|(_, events, _)| events.split("; "));
    assert!(events.all(|event| names().any(|name| name == event)));
}

fn names() -> impl Iterator<Item = &'static str> {
    EVENTS.iter().map(|(name, _)| *name).chain(ANSWERS.iter().map(|(name, _)| *name))
}

fn outputs_by_default(state: State, event: &str) -> String {
    let is_answer = ANSWERS.iter().any(|(name, _)| *name == event);
    match state {
        State::Asking | State::Verifying { .. } if is_answer => "Sleeping: sleep 100 ms".to_owned(),
        _ => format!("{state:?}:"),
    }
}

/// A cursor in each state, after the records before offset 3, of a client that reads committed records and lingers. One
/// has read nothing, and does not know the topic's id.
fn states() -> Vec<(&'static str, Cursors)> {
    let linger = Duration::from_millis(500);
    let request = || Subscribe { committed: true, linger, ..Default::default() };
    let after = |events: &[&str]| {
        let mut cursors = subscribed(request(), 1);
        turn(&mut cursors, LEADER, Some(read(0, 3)));
        apply(&mut cursors, "take");
        for event in events {
            apply(&mut cursors, event);
        }
        outputs(&mut cursors);
        cursors
    };
    let mut unasked = after(&[]);
    unasked.asked = MAX_ASKED;
    apply(&mut unasked, "turn");
    unasked.asked = 0;
    vec![
        ("Unread", subscribed_to(request(), None, vec![(0, 3)])),
        ("Ready", after(&[])),
        ("Unasked", unasked),
        ("InHand", after(&["turn, recent"])),
        ("Asking", after(&["turn"])),
        ("Verifying", after(&["turn, new leader"])),
        ("AtEnd", after(&["turn", "end"])),
        ("Sleeping", after(&["turn", "nothing"])),
        ("Ended", after(&["turn", "refused"])),
    ]
}

fn in_state(state: &str) -> Cursors {
    states().into_iter().find(|(name, _)| *name == state).unwrap().1
}

type Happen = fn(&mut Cursors);
type Answers = fn() -> (Answer, Version);

const EVENTS: &[(&str, Happen)] = &[
    ("turn", |cursors| turn(cursors, LEADER, None)),
    ("turn, recent", |cursors| turn(cursors, LEADER, Some(read(3, 2)))),
    ("turn, recent, blocked", |cursors| {
        let ends = Ends { start: 0, stable: 5, end: 8 };
        turn(cursors, LEADER, Some(Chunk { ends, ..read(3, 2) }));
    }),
    ("turn, new leader", |cursors| turn(cursors, NEW_LEADER, Some(read(3, 2)))),
    ("take", |cursors| take(cursors, LEADER)),
    ("take, new leader", |cursors| take(cursors, NEW_LEADER)),
    ("take, no leader", |cursors| take(cursors, NO_LEADER)),
    ("take, other topic", |cursors| take(cursors, OTHER_TOPIC)),
    ("put back", Cursors::put_back),
    ("unanswered", |cursors| cursors.handle(0, Event::Unanswered, *NOW)),
    ("woken", |cursors| cursors.handle(0, Event::Woken { end: Some(3) }, *NOW)),
    ("woken by a record", |cursors| cursors.handle(0, Event::Woken { end: Some(4) }, *NOW)),
    ("still at end", |cursors| cursors.handle(0, Event::StillAtEnd { start: -1, end: 3 }, *NOW)),
    ("blocked", |cursors| cursors.handle(0, Event::StillAtEnd { start: -1, end: 9 }, *NOW)),
    ("due", |cursors| cursors.handle(0, Event::Due, *NOW)),
    ("progress", Cursors::tell_progress),
];

const ANSWERS: &[(&str, Answers)] = &[
    ("kept", || (Answer::Kept, LEADER)),
    ("records", || (Answer::Records(Ok(read(3, 2))), LEADER)),
    ("last records", || {
        (Answer::Records(Ok(Chunk { ends: Ends { start: 0, stable: 5, end: 5 }, ..read(3, 2) })), LEADER)
    }),
    ("end", || (nothing(3, 3, 3), LEADER)),
    ("end, gap", || (nothing(5, 5, 5), LEADER)),
    ("end, read from 1", || (nothing(1, 3, 3), LEADER)),
    ("end, blocked", || (nothing(3, 3, 9), LEADER)),
    ("end, new leader", || (nothing(3, 3, 3), NEW_LEADER)),
    ("end, other topic", || (nothing(3, 3, 3), OTHER_TOPIC)),
    ("nothing", || (nothing(3, 9, 9), LEADER)),
    ("nothing, earlier end", || (nothing(3, 3, 2), LEADER)),
    ("nothing, gap", || (nothing(4, 9, 9), LEADER)),
    ("deleted", || (Answer::Records(Err(out_of_range(8, 9))), LEADER)),
    ("out of range", || (failed(Fault::OffsetOutOfRange), LEADER)),
    ("missing", || (failed(Fault::NotFound), LEADER)),
    ("unreachable", || (failed(UNREACHABLE), LEADER)),
    ("throttled", || {
        let retry_after = Duration::from_secs(30);
        (Answer::Records(Err(CommandError { retry_after, ..error(Fault::Transient) })), LEADER)
    }),
    ("refused", || (failed(Fault::NotAuthorized), LEADER)),
    ("failed, other topic", || (failed(Fault::NotFound), OTHER_TOPIC)),
    ("same topic", || (Answer::TopicId(Ok(LEADER.topic_id)), LEADER)),
    ("same topic, no leader", || (Answer::TopicId(Ok(LEADER.topic_id)), NO_LEADER)),
    ("another topic", || (Answer::TopicId(Ok(OTHER_TOPIC.topic_id)), OTHER_TOPIC)),
    ("topic unreachable", || (Answer::TopicId(Err(error(UNREACHABLE))), LEADER)),
    ("ends", || (Answer::Ends(out_of_range(8, 9)), LEADER)),
    ("ends, in range", || (Answer::Ends(out_of_range(3, 9)), LEADER)),
    ("begins", || (Answer::Begin(Ok(3)), LEADER)),
    ("does not begin", || (Answer::Begin(Err(error(UNREACHABLE))), LEADER)),
    ("begins, other topic", || (Answer::Begin(Ok(3)), OTHER_TOPIC)),
    ("task failed", || (Answer::Nothing, LEADER)),
    ("epoch ends here", || (Answer::EndOfEpoch(Ok(Some(3))), NEW_LEADER)),
    ("epoch ends before", || (Answer::EndOfEpoch(Ok(Some(2))), NEW_LEADER)),
    ("epoch unknown", || (Answer::EndOfEpoch(Ok(None)), NEW_LEADER)),
    ("epoch unreachable", || (Answer::EndOfEpoch(Err(error(UNREACHABLE))), NEW_LEADER)),
    ("epoch refused", || (Answer::EndOfEpoch(Err(error(Fault::Rejected))), NEW_LEADER)),
];

fn apply(cursors: &mut Cursors, event: &str) {
    if let Some((_, apply)) = EVENTS.iter().find(|(name, _)| *name == event) {
        return apply(cursors);
    }
    let (_, answer) = ANSWERS.iter().find(|(name, _)| *name == event).unwrap();
    let (answer, version) = answer();
    cursors.handle(0, Event::Answered(answer, version), *NOW);
}

/// Takes the next item, and leaves it to be told.
fn take(cursors: &mut Cursors, version: Version) {
    if let Some((item, _)) = cursors.take(version, *NOW) {
        cursors.client.items.push_front(item);
    }
}

/// No records up to `next`.
fn nothing(next: i64, stable: i64, end: i64) -> Answer {
    Answer::Records(Ok(Chunk::nothing(next, Ends { start: 0, stable, end })))
}

fn failed(fault: Fault) -> Answer {
    Answer::Records(Err(error(fault)))
}

fn out_of_range(start: i64, end: i64) -> CommandError {
    CommandError { ends: Some((start, end)), ..error(Fault::OffsetOutOfRange) }
}

/// Cursors of a client that knows its subscription, each from offset 0.
fn subscribed(request: Subscribe, partitions: i32) -> Cursors {
    let partitions = (0..partitions).map(|partition| (partition, 0)).collect();
    subscribed_to(request, LEADER.topic_id, partitions)
}

fn subscribed_to(request: Subscribe, topic_id: Option<u128>, partitions: Vec<(i32, i64)>) -> Cursors {
    let mut cursors = Cursors::new(Subscribe { max_bytes: 1000, ..request }, System::Kafka, Arc::default());
    cursors.add(vec![SubscribedTopic { topic: TOPIC.into(), topic_id, partitions }]);
    cursors.client.grant(Some(&Topics::default()));
    assert!(matches!(cursors.take(LEADER, *NOW), Some((Item::Subscribed(_), 0))));
    cursors
}

/// A turn of the only cursor, even if it has none.
fn turn(cursors: &mut Cursors, version: Version, recent: Option<Chunk>) {
    let none = Turn { index: 0, fetch: cursors.client.fetch(0, 1000) };
    let Turn { index, fetch } = cursors.next_turn(1000).unwrap_or(none);
    cursors.handle(index, Event::Turn { fetch, version, recent }, *NOW);
}

/// Records of ten bytes each, of a log whose ends are not known.
fn read(from: i64, count: usize) -> Chunk {
    let next_offset = from + count as i64;
    let messages = vec![0; 10 * count].into();
    Chunk { messages, count, ..Chunk::nothing(next_offset, Ends::UNKNOWN) }
}

fn error(fault: Fault) -> CommandError {
    CommandError::new(fault, 0, "failed")
}

/// The state of the cursor with index 0, and all that is to be told and performed.
fn outputs(cursors: &mut Cursors) -> String {
    let mut outputs: Vec<String> = cursors.client.items.drain(..).map(told).collect();
    outputs.extend(std::iter::from_fn(|| cursors.next_step()).map(|(_, step)| performed(step)));
    outputs.extend(cursors.progress_due(0, *NOW).map(|due| format!("progress in {} ms", millis(due))));
    format!("{:?}: {}", cursors.all()[0].state, outputs.join(", ")).trim_end().to_owned()
}

fn told(item: Item) -> String {
    match item {
        Item::Subscribed(_) => "subscribed".to_owned(),
        Item::Delivery { next, .. } => format!("delivery up to {}", next.offset),
        Item::CaughtUp { place, blocked_until: None } => format!("caught up at {}", place.offset),
        Item::CaughtUp { place, blocked_until: Some(end) } => {
            format!("caught up at {}, blocked until {end}", place.offset)
        }
        Item::Skipped { from, to, cause } => format!("skip {from} to {}: {cause:?}", to.offset),
        Item::Retrying { .. } => "retrying".to_owned(),
        Item::Ended { error, .. } => format!("ended: {:?}", error.fault),
        of_a_table => format!("{of_a_table:?}"),
    }
}

fn performed(step: Step) -> String {
    match step {
        Step::Ask(Question::Records(fetch)) => format!("ask for records from {}", fetch.offset),
        Step::Ask(Question::EndOfEpoch { epoch, .. }) => format!("ask for the end of epoch {epoch}"),
        Step::Ask(Question::TopicId) => "ask for the topic's id".to_owned(),
        Step::Ask(Question::Ends(error)) => format!("ask for the ends: {:?}", error.fault),
        Step::WaitAtEnd { until, seen } => {
            let seen = [(" start seen at ", seen.start), (" end seen at ", seen.end)];
            let seen = seen.into_iter().filter(|(_, at)| *at < i64::MAX);
            let until = until.map(|until| format!(" {} ms", millis(until)));
            let parts = seen.map(|(what, at)| format!("{what}{at}")).chain(until);
            format!("wait{}", parts.collect::<String>())
        }
        Step::Sleep { until } => format!("sleep {} ms", millis(until)),
        step => panic!("{step:?} is not left to the owner"),
    }
}

fn millis(until: Instant) -> u128 {
    until.duration_since(NOW.at).as_millis()
}

static NOW: LazyLock<Moment> =
    LazyLock::new(|| Moment { at: Instant::now(), date: SystemTime::UNIX_EPOCH, jitter: 0.5 });

const TOPIC: &str = "t";
const LEADER: Version = Version { topic_id: Some(7), leader_epoch: Some(1) };
const NEW_LEADER: Version = Version { leader_epoch: Some(2), ..LEADER };
const NO_LEADER: Version = Version { leader_epoch: None, ..LEADER };
const OTHER_TOPIC: Version = Version { topic_id: Some(8), ..LEADER };
const UNREACHABLE: Fault = Fault::Unreachable { retriable: true };
