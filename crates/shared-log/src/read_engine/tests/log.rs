//! A log in memory, and a reservation for answers from it.

use std::pin::Pin;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{advance, sleep, timeout};

use super::super::*;
use crate::chunk::tests::{chunk, first};

/// A log that changes while it is read. Clones share it.
#[derive(Clone)]
pub(super) struct Log {
    pub(super) state: watch::Sender<State>,
    pub(super) calls: Arc<Mutex<Vec<Call>>>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct State {
    /// `None` if it is not known.
    pub(super) version: Option<u32>,
    /// The sizes of the records.
    pub(super) records: Vec<usize>,
    /// Records in each read; 0: those that fit.
    pub(super) at_hand: usize,
    pub(super) read_takes: Duration,
    pub(super) fails: bool,
    pub(super) watched: Option<i64>,
    /// A range without records for clients.
    pub(super) skipped: Option<(i64, i64)>,
    /// The next events of waits; later ones tell of records.
    pub(super) events: Vec<Event>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Read { position: i64, max_bytes: usize },
    Wait { position: i64, is_proven: bool },
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure;

impl Log {
    pub(super) fn new(records: &[usize]) -> Self {
        let (version, records) = (Some(1), records.to_vec());
        let state = State { version, records, ..State::default() };
        Self { state: watch::Sender::new(state), calls: Arc::default() }
    }

    pub(super) fn with(records: &[usize], change: impl FnOnce(&mut State)) -> Self {
        let log = Self::new(records);
        log.change(change);
        log
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut State)) {
        self.state.send_modify(change);
    }

    pub(super) fn write(&self, record: usize) {
        self.change(|state| state.records.push(record));
    }

    /// Has other records in a new version, as after an election.
    pub(super) fn replace(&self, records: &[usize]) {
        self.change(|state| {
            state.records = records.to_vec();
            state.version = Some(state.version.unwrap_or_default() + 1);
        });
    }

    pub(super) async fn fetch(&self, fetch: Fetch) -> Answer {
        self.fetch_within(fetch, &mut Room::default()).await
    }

    pub(super) async fn fetch_within(&self, fetch: Fetch, room: &mut Room) -> Answer {
        let fetched = super::super::fetch(&mut self.clone(), fetch, room).await?;
        let (mut rest, mut records) = (&fetched.messages[..], Vec::new());
        while let Some(entry) = first(rest) {
            records.push((entry.position, entry.len));
            rest = &rest[entry.len..];
        }
        assert_eq!(records.len(), fetched.count);
        Ok((records, fetched.next_offset, fetched.ends.end))
    }

    /// A fetch on a task of its own, until it waits.
    pub(super) async fn waiting(&self, fetch: Fetch) -> JoinHandle<Answer> {
        let log = self.clone();
        let waiting = tokio::spawn(async move { log.fetch(fetch).await });
        while !self.calls().iter().any(|call| matches!(call, Call::Wait { .. })) {
            sleep(Duration::from_millis(1)).await;
        }
        waiting
    }

    pub(super) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    pub(super) fn reads(&self) -> Vec<(i64, usize)> {
        let read = |call: &Call| match *call {
            Call::Read { position, max_bytes } => Some((position, max_bytes)),
            Call::Wait { .. } => None,
        };
        self.calls().iter().filter_map(read).collect()
    }
}

impl State {
    fn ends(&self) -> Ends {
        let end = self.records.len() as i64;
        Ends { start: 0, stable: end, end }
    }

    pub(super) fn from(&self, position: i64, count: usize) -> Chunk {
        let records = self.records.iter().enumerate().skip(position as usize);
        let records: Vec<_> =
            records.take(count).map(|(position, size)| (position as i64, size - HEADER)).collect();
        let next = position + records.len() as i64;
        Chunk { ends: self.ends(), ..chunk(position, next, &records) }
    }
}

impl RawReads for Log {
    type Version = u32;
    type Error = Failure;
    const FIRST_ENTRY: FirstEntry = first;

    fn version(&self) -> Option<u32> {
        self.state.borrow().version
    }

    fn is_watched(&self, position: i64) -> bool {
        self.state.borrow().watched == Some(position)
    }

    async fn read_through(&mut self, position: i64, size: AnswerSize) -> Result<Chunk, Failure> {
        self.calls.lock().unwrap().push(Call::Read { position, max_bytes: size.bytes });
        let read_takes = self.state.borrow().read_takes;
        sleep(read_takes).await;
        let state = self.state.borrow();
        if state.fails || position > state.ends().end {
            return Err(Failure);
        }
        if let Some((_, next_offset)) = state.skipped.filter(|(from, _)| *from == position) {
            return Ok(Chunk { next_offset, ..Chunk::nothing(position, state.ends()) });
        }
        let count = if state.at_hand == 0 { usize::MAX } else { state.at_hand };
        let ends = state.ends();
        Ok(Chunk { ends, ..assemble(&[state.from(position, count)], position, size, first) })
    }

    async fn wait(&mut self, position: i64, until: Instant, proven: Option<Ends>) -> Event {
        self.calls.lock().unwrap().push(Call::Wait { position, is_proven: proven.is_some() });
        let scripted = !self.state.borrow().events.is_empty();
        if scripted {
            let mut event = None;
            self.change(|state| event = Some(state.events.remove(0)));
            return event.unwrap();
        }
        let (mut changes, version) = (self.state.subscribe(), self.version());
        let is_over = |state: &State| state.ends().end > position || state.version != version;
        match timeout(until.duration_since(Instant::now()), changes.wait_for(is_over)).await {
            Ok(state) if state.as_ref().unwrap().version != version => Event::Read,
            Ok(state) => Event::Records(state.unwrap().from(position, 1)),
            Err(_) => Event::End(proven.unwrap_or_else(|| self.state.borrow().ends())),
        }
    }
}

/// The positions and sizes of a fetch's records, where it reads on, and the end of the log.
pub(super) type Answer = Result<(Vec<(i64, usize)>, i64, i64), Failure>;

pub(super) fn answer(records: &[(i64, usize)], next: i64, end: i64) -> Answer {
    Ok((records.to_vec(), next, end))
}

/// A reservation that ends waits after a while, and can have no room for more.
pub(super) struct Room {
    pub(super) wait: Duration,
    /// The time that it takes to give back bytes.
    pub(super) delay: Duration,
    pub(super) refills: bool,
    pub(super) kept: Option<usize>,
}

impl Default for Room {
    fn default() -> Self {
        Self { wait: Duration::MAX, delay: Duration::ZERO, refills: true, kept: None }
    }
}

impl AnswerReservation for Room {
    fn wait(&mut self, keep: usize) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.kept = Some(keep);
        let (wait, delay) = (self.wait, self.delay);
        Box::pin(async move {
            advance(delay).await;
            sleep(wait).await;
        })
    }

    fn refill(&mut self) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        Box::pin(async { self.refills })
    }
}

/// The bytes of a record besides its filler.
const HEADER: usize = 12;
