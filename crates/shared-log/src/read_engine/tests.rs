//! Fetches of a log in memory, on a paused clock.

mod log;

use sluicegate_fair_share::ClientKey;
use tokio::time::sleep;

use self::log::{Call, Failure, Log, Room, answer};
use super::*;

fn at(offset: i64) -> Fetch {
    let (wait, source) = (Duration::ZERO, ClientKey::UNKNOWN);
    let (max_bytes, min_bytes, max_records) = (ROOM, 0, 0);
    let (fill, committed, decode) = (false, false, false);
    Fetch { offset, max_bytes, wait, min_bytes, max_records, fill, committed, decode, source }
}

fn waiting(offset: i64) -> Fetch {
    Fetch { wait: Duration::from_secs(5), ..at(offset) }
}

fn filling(offset: i64) -> Fetch {
    Fetch { fill: true, ..at(offset) }
}

const ROOM: usize = 64 * 1024;

#[tokio::test(start_paused = true)]
async fn fetch_gives_what_is_at_hand() {
    let log = Log::with(&[20, 30, 40], |state| state.at_hand = 2);
    assert_eq!(log.fetch(at(0)).await, answer(&[(0, 20), (1, 30)], 2, 3));
    assert_eq!(log.fetch(Fetch { max_records: 1, ..at(0) }).await, answer(&[(0, 20)], 1, 3));
    assert_eq!(log.fetch(Fetch { max_bytes: 1, ..at(1) }).await, answer(&[(1, 30)], 2, 3));
    assert_eq!(log.fetch(at(3)).await, answer(&[], 3, 3));
    assert_eq!(log.fetch(at(4)).await, Err(Failure));
    assert_eq!(log.fetch(waiting(2)).await, answer(&[(2, 40)], 3, 3), "there is no wait before the end");
    assert_eq!(log.reads().len(), 6);
}

#[tokio::test(start_paused = true)]
async fn filled_answer_is_bounded_in_room_and_time() {
    let log = Log::with(&[100; 20], |state| state.at_hand = 1);
    for (fetch, next) in [
        (filling(0), 20),
        (Fetch { max_records: 4, ..filling(0) }, 4),
        (Fetch { max_bytes: 1_000, ..filling(0) }, 5),
        (Fetch { max_bytes: 290, ..filling(0) }, 2),
        (filling(20), 20),
    ] {
        assert_eq!(log.fetch(fetch).await.unwrap().1, next, "{fetch:?}");
    }
    log.change(|state| state.read_takes = Duration::from_millis(60));
    let began = Instant::now();
    assert_eq!(log.fetch(filling(0)).await.unwrap().1, 4);
    assert_eq!(began.elapsed(), FILL_TIME);
}

#[tokio::test(start_paused = true)]
async fn error_after_the_first_record_is_left_to_the_next_fetch() {
    for fetch in [filling(0), Fetch { min_bytes: 1_000, ..waiting(0) }] {
        let log = Log::with(&[20, 30], |state| {
            (state.at_hand, state.read_takes) = (1, Duration::from_millis(10));
        });
        let fails = async {
            sleep(Duration::from_millis(15)).await;
            log.change(|state| state.fails = true);
        };
        let (fetched, ()) = tokio::join!(log.fetch(fetch), fails);
        assert_eq!(fetched, answer(&[(0, 20)], 1, 2), "{fetch:?}");
        assert_eq!(log.fetch(fetch).await, Err(Failure));
    }
}

#[tokio::test(start_paused = true)]
async fn answer_has_records_of_one_version() {
    for fetch in [filling(0), Fetch { min_bytes: 90, ..waiting(0) }] {
        for (version, records, want) in [
            (Some(1), &[40, 40, 40][..], answer(&[(0, 40), (1, 40), (2, 40)], 3, 3)),
            (Some(1), &[40], answer(&[(0, 40)], 1, 1)),
            (None, &[40, 40, 40], answer(&[(0, 40), (1, 40), (2, 40)], 3, 3)),
        ] {
            let log = Log::with(&[20, 20, 20], |state| {
                (state.version, state.at_hand, state.read_takes) = (version, 1, Duration::from_millis(10));
            });
            let replaced = async {
                sleep(Duration::from_millis(25)).await;
                log.replace(records);
            };
            let (fetched, ()) = tokio::join!(log.fetch(fetch), replaced);
            assert_eq!(fetched, want, "{fetch:?}");
        }
    }
    // A log that changes during a wait is read from the first position.
    let log = Log::new(&[20, 20]);
    let fetch = log.waiting(Fetch { min_bytes: 60, ..waiting(0) }).await;
    log.replace(&[40, 40, 40]);
    assert_eq!(fetch.await.unwrap(), answer(&[(0, 40), (1, 40), (2, 40)], 3, 3));
}

#[tokio::test(start_paused = true)]
async fn version_that_is_known_with_the_first_read_is_no_change() {
    let log = Log::with(&[20], |state| {
        (state.version, state.watched, state.read_takes) = (None, Some(1), Duration::from_millis(10));
        state.events = vec![Event::Read];
    });
    log.write(30);
    let known = async {
        sleep(Duration::from_millis(5)).await;
        log.change(|state| state.version = Some(1));
    };
    let (fetched, ()) = tokio::join!(log.fetch(waiting(1)), known);
    assert_eq!(fetched, answer(&[(1, 30)], 2, 2));
    assert_eq!(log.reads().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn wait_gathers_enough_records() {
    for (fetch, written, next) in [
        (waiting(1), 1, 2),
        (Fetch { min_bytes: 90, ..waiting(1) }, 3, 4),
        (Fetch { min_bytes: 90, max_records: 2, ..waiting(1) }, 2, 3),
        (Fetch { min_bytes: 90, max_bytes: 60, ..waiting(1) }, 2, 3),
        // Another one would not fit.
        (Fetch { min_bytes: 90, max_bytes: 70, ..waiting(1) }, 3, 3),
    ] {
        let log = Log::new(&[30]);
        let (began, waiting) = (Instant::now(), log.waiting(fetch).await);
        for _ in 0..written {
            assert!(!waiting.is_finished(), "{fetch:?}");
            log.write(30);
            sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(waiting.await.unwrap().unwrap().1, next, "{fetch:?}");
        assert!(began.elapsed() < Duration::from_secs(1), "{fetch:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn wait_gives_what_there_is_when_its_time_is_over() {
    let log = Log::new(&[20]);
    for (fetch, want, waited) in [
        (waiting(1), answer(&[], 1, 1), Duration::from_secs(5)),
        (Fetch { min_bytes: 100, ..waiting(0) }, answer(&[(0, 20)], 1, 1), Duration::from_secs(5)),
        (Fetch { wait: MAX_WAIT * 2, ..waiting(1) }, answer(&[], 1, 1), MAX_WAIT),
    ] {
        let began = Instant::now();
        assert_eq!(log.fetch(fetch).await, want, "{fetch:?}");
        assert_eq!(began.elapsed(), waited, "{fetch:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn watched_end_is_not_read_but_proven() {
    let log = Log::with(&[20], |state| state.watched = Some(1));
    assert_eq!(log.fetch(waiting(1)).await, answer(&[], 1, 1));
    assert_eq!(log.calls(), [Call::Wait { position: 1, is_proven: false }]);
    let fetch = log.waiting(waiting(1)).await;
    log.write(30);
    assert_eq!(fetch.await.unwrap(), answer(&[(1, 30)], 2, 2));
    assert_eq!(log.reads(), []);
    assert_eq!(log.fetch(at(1)).await, answer(&[(1, 30)], 2, 2));
    assert_eq!(log.reads(), [(1, ROOM)], "without a wait it is read");
    // Also if the time is over before the wait begins.
    let log = Log::with(&[20], |state| state.watched = Some(1));
    let mut room = Room { delay: Duration::from_secs(10), ..Room::default() };
    assert_eq!(log.fetch_within(waiting(1), &mut room).await, answer(&[], 1, 1));
    assert_eq!(log.calls(), [Call::Wait { position: 1, is_proven: false }]);
}

#[tokio::test(start_paused = true)]
async fn interrupted_wait_is_no_older_than_its_question() {
    let log = Log::with(&[20], |state| state.watched = Some(1));
    let mut room = Room { wait: Duration::from_secs(1), ..Room::default() };
    assert_eq!(log.fetch_within(waiting(1), &mut room).await, answer(&[], 1, 1));
    assert_eq!(log.reads(), [(1, WAITING_BYTES)]);
    // Interrupted while it reads what a notice told of.
    log.change(|state| {
        (state.events, state.read_takes) = (vec![Event::Read], Duration::from_secs(2));
    });
    log.write(30);
    assert_eq!(log.fetch_within(waiting(1), &mut room).await, answer(&[(1, 30)], 2, 2));
}

#[tokio::test(start_paused = true)]
async fn interrupted_wait_gives_what_it_has_gathered_of_one_version() {
    let replace = |log: &Log| {
        log.change(|state| state.read_takes = Duration::from_millis(400));
        log.replace(&[40]);
    };
    for (change, want, millis) in [
        ((|log| log.write(30)) as fn(&Log), answer(&[(0, 20), (1, 30)], 2, 2), 1_000),
        // It is read again.
        (replace, answer(&[(0, 40)], 1, 1), 1_400),
    ] {
        let log = Log::new(&[20]);
        let mut room = Room { wait: Duration::from_secs(1), ..Room::default() };
        let began = Instant::now();
        let changed = async {
            sleep(Duration::from_millis(500)).await;
            change(&log);
        };
        let fetch = log.fetch_within(Fetch { min_bytes: 100, ..waiting(0) }, &mut room);
        let (fetched, ()) = tokio::join!(fetch, changed);
        assert_eq!((fetched, began.elapsed()), (want, Duration::from_millis(millis)));
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_fetch_has_little_room() {
    let log = Log::new(&[20]);
    let mut room = Room::default();
    let fetch = Fetch { min_bytes: 100_000, ..waiting(0) };
    let written = async {
        for _ in 0..3 {
            sleep(Duration::from_millis(1)).await;
            log.write(10_000);
        }
    };
    let (fetched, ()) = tokio::join!(log.fetch_within(fetch, &mut room), written);
    assert_eq!(fetched, answer(&[(0, 20), (1, 10_000)], 2, 3), "the third does not fit");
    assert_eq!(room.kept, Some(WAITING_BYTES));
    assert_eq!(log.reads(), [(0, ROOM), (1, WAITING_BYTES), (2, WAITING_BYTES)]);
}

#[tokio::test(start_paused = true)]
async fn large_record_is_read_again_with_its_whole_room() {
    let large = WAITING_BYTES + 1;
    for (refills, watched, want) in [
        (true, None, answer(&[(1, large), (2, large)], 3, 3)),
        (true, Some(1), answer(&[(1, large), (2, large)], 3, 3)),
        (false, None, answer(&[], 1, 3)),
    ] {
        let log = Log::with(&[20], |state| state.watched = watched);
        let mut room = Room { refills, ..Room::default() };
        let written = async {
            sleep(Duration::from_secs(1)).await;
            log.change(|state| state.records.extend([large, large]));
        };
        let (fetched, ()) = tokio::join!(log.fetch_within(waiting(1), &mut room), written);
        assert_eq!(fetched, want);
        assert_eq!(log.reads().contains(&(1, ROOM)), refills || watched.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn skipped_range_is_not_read_again() {
    for (refills, want) in [(true, answer(&[(2, 20_000)], 3, 3)), (false, answer(&[], 2, 3))] {
        let log = Log::with(&[20, 20], |state| state.skipped = Some((1, 2)));
        let mut room = Room { refills, ..Room::default() };
        let written = async {
            sleep(Duration::from_secs(1)).await;
            log.write(20_000);
        };
        let (fetched, ()) = tokio::join!(log.fetch_within(waiting(1), &mut room), written);
        assert_eq!(fetched, want);
        assert!(log.reads().iter().skip(1).all(|(position, _)| *position == 2), "{:?}", log.reads());
    }
}

#[tokio::test(start_paused = true)]
async fn failed_wait_pauses_and_records_before_the_position_prove_no_end() {
    let log = Log::with(&[20, 30], |state| state.watched = Some(1));
    let before = log.state.borrow().from(0, 1);
    for (event, waited) in [(Event::Failed, PAUSE), (Event::Records(before), Duration::ZERO)] {
        let log = Log::with(&[20, 30], |state| (state.watched, state.events) = (Some(1), vec![event]));
        let began = Instant::now();
        assert_eq!(log.fetch(waiting(1)).await, answer(&[(1, 30)], 2, 2));
        assert_eq!(began.elapsed(), waited);
        assert_eq!(log.reads(), [(1, WAITING_BYTES)]);
    }
}
