//! Sockets that note when each record arrives. They look for the records' marker and know no protocol, so that all
//! systems have the same clients.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use memchr::memmem::Finder;
use sluicegate_stack::raw::Raw;
use tokio::io::AsyncReadExt;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::MARKER;
use super::server::Server;

/// Digits of a record's number.
const DIGITS: usize = 8;

/// Open sockets. Dropping them closes the connections.
pub(super) struct Watchers {
    seen: Arc<Seen>,
    count: usize,
    _tasks: JoinSet<()>,
    /// They are not read.
    _stuck: Vec<Raw>,
}

#[derive(Default)]
struct Seen {
    count: AtomicUsize,
    /// The last arrival of each socket's read.
    last: Mutex<Option<Instant>>,
    /// The first record whose arrivals are kept.
    first: AtomicUsize,
    /// The number and the time of each record from `first` on.
    arrivals: Mutex<Vec<(usize, Instant)>>,
}

impl Watchers {
    /// Opens sockets that are read, and others that are not.
    pub(super) async fn open(server: &Server, count: usize, stuck: usize) -> Self {
        let open =
            stream::iter(0..count + stuck).map(|number| server.subscribed(number)).buffer_unordered(50);
        let mut sockets: Vec<Raw> = open.collect().await;
        let stuck = sockets.split_off(count);
        let seen = Arc::new(Seen { first: AtomicUsize::new(usize::MAX), ..Seen::default() });
        let mut tasks = JoinSet::new();
        for socket in sockets {
            tasks.spawn(watch(socket, Arc::clone(&seen)));
        }
        Self { seen, count, _tasks: tasks, _stuck: stuck }
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Waits until so many records have arrived, or none arrives any more; returns their number.
    pub(super) async fn until(&self, count: usize, patience: Duration) -> usize {
        let start = Instant::now();
        let (mut before, mut since) = (0, start);
        loop {
            let seen = self.seen.count.load(Ordering::Relaxed);
            if seen != before {
                (before, since) = (seen, Instant::now());
            }
            if seen >= count || start.elapsed() > patience || since.elapsed() > LOST {
                return seen;
            }
            sleep(POLL).await;
        }
    }

    /// When the last record arrived.
    pub(super) fn last(&self) -> Instant {
        self.seen.last.lock().unwrap_or_else(PoisonError::into_inner).unwrap_or_else(Instant::now)
    }

    /// Keeps the arrivals of records from this number on.
    pub(super) fn keep_from(&self, number: usize) {
        self.seen.first.store(number, Ordering::Relaxed);
    }

    /// The number of each record that arrived, and when.
    pub(super) fn arrivals(&self) -> Vec<(usize, Instant)> {
        self.seen.arrivals.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn watch(mut socket: Raw, seen: Arc<Seen>) {
    let finder = Finder::new(MARKER);
    let mut bytes = Vec::with_capacity(READ);
    loop {
        match socket.io.read_buf(&mut bytes).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let now = Instant::now();
        let mut numbers = Vec::new();
        let mut end = 0;
        for at in finder.find_iter(&bytes) {
            let Some(digits) = bytes.get(at + MARKER.len()..at + MARKER.len() + DIGITS) else { break };
            numbers.push((
                std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).unwrap_or(0),
                now,
            ));
            end = at + MARKER.len() + DIGITS;
        }
        // A marker can be cut.
        let keep = bytes.len().saturating_sub(MARKER.len() + DIGITS - 1).max(end);
        bytes.drain(..keep);
        if numbers.is_empty() {
            continue;
        }
        seen.count.fetch_add(numbers.len(), Ordering::Relaxed);
        *seen.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
        let first = seen.first.load(Ordering::Relaxed);
        numbers.retain(|(number, _)| *number >= first);
        if !numbers.is_empty() {
            seen.arrivals.lock().unwrap_or_else(PoisonError::into_inner).append(&mut numbers);
        }
    }
}

const READ: usize = 64 * 1024;
/// If nothing arrives for so long, the rest is lost.
const LOST: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(5);
