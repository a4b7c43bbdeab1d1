//! What is known of streams: asked of their leaders, once for all waiting callers, and kept for a moment.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sluicegate_shared_log::{Ends, Flights, LogKey};
use tokio::time::Instant;

use super::api::{Api, StreamInfo};
use super::error::ReadError;
use super::stream_name::StreamName;

/// The streams of a cluster that were read from.
pub(super) struct Streams {
    api: Arc<Api>,
    known: Mutex<HashMap<Arc<str>, Known>>,
    asked: Flights<Arc<str>, Result<Stream, ReadError>>,
}

/// A stream, as of the last answer of its leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stream {
    pub(super) id: StreamId,
    pub(super) info: StreamInfo,
    /// Whether a message of it seems to end connections: see [`Streams::distrust`].
    pub(super) is_distrusted: bool,
}

/// Distinguishes a stream from others of its name, and from itself after it has lost messages.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct StreamId {
    pub(super) name: Arc<str>,
    /// In nanoseconds since 1970.
    pub(super) created: u128,
    /// Grows when the stream ends before its former end: it can have other messages at the same sequences.
    pub(super) generation: i64,
}

struct Known {
    id: StreamId,
    info: StreamInfo,
    at: Instant,
    distrusted_until: Option<Instant>,
}

impl Streams {
    pub(super) fn new(api: Arc<Api>) -> Self {
        Self { api, known: Mutex::default(), asked: Flights::default() }
    }

    /// What the leader says to a request that is sent after the call.
    pub(super) async fn ask(&self, name: StreamName<'_>) -> Result<Stream, ReadError> {
        let request = async {
            let asked = self.api.stream_info(name).await;
            match asked {
                Ok(info) => Ok(self.learn(name, info)),
                Err(error) => {
                    if error.is_missing_stream() {
                        self.lock().remove(name.as_str());
                    }
                    Err(error)
                }
            }
        };
        self.asked.ask(name.as_str().into(), |_| false, || None, request).await
    }

    /// What is known, and for how long.
    pub(super) fn known(&self, name: StreamName<'_>) -> Option<(Stream, Duration)> {
        let known = self.lock();
        let known = known.get(name.as_str())?;
        Some((known.stream(), known.at.elapsed()))
    }

    /// Lets readers of the stream take one message at a time for a while.
    ///
    /// async-nats ends a connection on which it receives headers or a subject that it cannot parse, and servers accept them from
    /// publishers.
    pub(super) fn distrust(&self, name: StreamName<'_>) {
        if let Some(known) = self.lock().get_mut(name.as_str()) {
            known.distrusted_until = Instant::now().checked_add(DISTRUST);
        }
    }

    fn learn(&self, name: StreamName<'_>, info: StreamInfo) -> Stream {
        let mut all = self.lock();
        let before = all.get(name.as_str()).filter(|known| known.id.created == info.created);
        let generation = before.map_or(0, |before| match info.end < before.info.end {
            true => before.id.generation.saturating_add(1),
            false => before.id.generation,
        });
        let distrusted_until = before.and_then(|before| before.distrusted_until);
        let id = StreamId { name: name.as_str().into(), created: info.created, generation };
        let known = Known { id: id.clone(), info, at: Instant::now(), distrusted_until };
        let stream = known.stream();
        if all.len() >= MAX_KNOWN && !all.contains_key(name.as_str()) {
            let oldest = all.values().min_by_key(|known| known.at).map(|known| Arc::clone(&known.id.name));
            oldest.and_then(|oldest| all.remove(&oldest));
        }
        all.insert(id.name, known);
        stream
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn stream(&self) -> Stream {
        let is_distrusted = self.distrusted_until.is_some_and(|until| Instant::now() < until);
        Stream { id: self.id.clone(), info: self.info.clone(), is_distrusted }
    }
}

impl Stream {
    pub(super) fn ends(&self) -> Ends {
        let StreamInfo { first, end, .. } = self.info;
        Ends { start: first, stable: end, end }
    }
}

impl StreamId {
    /// Its key in the shared log. The generation is the log's version.
    pub(super) fn key(&self) -> LogKey {
        let Self { name, created, .. } = self;
        LogKey { topic: Arc::clone(name), incarnation: *created, partition: 0, committed: false }
    }
}

const DISTRUST: Duration = Duration::from_secs(60);
/// Streams that are known at the same time, of about 200 bytes each.
const MAX_KNOWN: usize = 10_000;
