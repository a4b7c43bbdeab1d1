//! Cached state of streams, requested from their leaders once for all waiting callers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sluicegate_shared_log::{Ends, LogKey, SingleFlight};
use tokio::time::{Instant, sleep};

use super::api::{Api, StreamInfo};
use super::entries::Entries;
use super::error::ReadError;
use super::stream_name::StreamName;

/// The streams of a cluster that were read from.
pub(super) struct Streams {
    api: Arc<Api>,
    known: Mutex<HashMap<Arc<str>, Known>>,
    asked: SingleFlight<Arc<str>, Result<Stream, ReadError>>,
}

/// A stream, as of the last answer of its leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stream {
    pub(super) id: StreamId,
    pub(super) info: StreamInfo,
    /// Whether a message of it seems to end connections: see [`Streams::distrust`].
    pub(super) is_distrusted: bool,
    /// Whether a consumer of it has stalled lately: see [`Streams::stalled`].
    pub(super) is_stalling: bool,
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
    /// One after the last sequence that was seen. The stream has at least that end.
    seen: i64,
    at: Instant,
    distrusted_until: Option<Instant>,
    stalling_until: Option<Instant>,
}

impl Streams {
    pub(super) fn new(api: Arc<Api>) -> Self {
        Self { api, known: Mutex::default(), asked: SingleFlight::default() }
    }

    /// The answer of the leader to a request that is sent after the call.
    pub(super) async fn ask(&self, name: StreamName<'_>) -> Result<Stream, ReadError> {
        let request = || async {
            // Messages that are seen while the leader is asked can be newer than its answer.
            let seen = self.known.lock().get(name.as_str()).map_or(0, |known| known.seen);
            let asked = self.api.stream_info(name).await;
            match asked {
                Ok(info) => Ok(self.update(name, info, seen)),
                Err(error) => {
                    if error.is_missing_stream() {
                        self.known.lock().remove(name.as_str());
                    }
                    Err(error)
                }
            }
        };
        let asked = self.asked.run_within(self.api.timeout(), name.as_str().into(), request).await;
        asked.unwrap_or_else(|| Err(self.api.silence(&format!("STREAM.INFO.{name}"))))
    }

    /// The same of the stream with this id, once its leader has what the server had that gave `messages`: a replica can
    /// be ahead.
    pub(super) async fn ask_after(
        &self,
        name: StreamName<'_>,
        id: &StreamId,
        messages: &Entries,
    ) -> Result<Stream, ReadError> {
        let mut pause = FIRST_PAUSE;
        loop {
            let stream = self.ask(name).await?;
            if stream.id != *id {
                return Err(ReadError::Recreated);
            }
            let end = stream.info.end;
            match pause > LAST_PAUSE {
                _ if end >= messages.known_end() => return Ok(stream),
                false => sleep(pause).await,
                // A server can have counted wrong.
                true if end > messages.last() => return Ok(stream),
                true => return Err(ReadError::Behind),
            }
            pause = pause.saturating_mul(2);
        }
    }

    /// Whether the stream is known to have had messages up to `end`.
    pub(super) fn has_reached(&self, id: &StreamId, end: i64) -> bool {
        self.known.lock().get(&id.name).is_some_and(|known| known.id == *id && known.seen >= end)
    }

    /// The last answer about a stream, and its age.
    pub(super) fn known(&self, name: StreamName<'_>) -> Option<(Stream, Duration)> {
        let known = self.known.lock();
        let known = known.get(name.as_str())?;
        Some((known.stream(), known.at.elapsed()))
    }

    /// Notes that the stream has a message before `next`.
    pub(super) fn observe_end(&self, id: &StreamId, next: i64) {
        if let Some(known) = self.known.lock().get_mut(&id.name).filter(|known| known.id == *id) {
            known.seen = known.seen.max(next);
        }
    }

    /// Lets readers of the stream take one message at a time for a while.
    ///
    /// async-nats ends a connection on which it receives headers or a subject that it cannot parse, and servers accept
    /// them from publishers.
    pub(super) fn distrust(&self, name: StreamName<'_>) {
        if let Some(known) = self.known.lock().get_mut(name.as_str()) {
            known.distrusted_until = Instant::now().checked_add(DISTRUST);
        }
    }

    /// Lets readers of the stream do without consumers for a while: others can pause them, again and again.
    pub(super) fn stalled(&self, name: StreamName<'_>) {
        if let Some(known) = self.known.lock().get_mut(name.as_str()) {
            known.stalling_until = Instant::now().checked_add(STALLING);
        }
    }

    /// Takes the answer of the leader to a request before which `seen` was known.
    fn update(&self, name: StreamName<'_>, info: StreamInfo, seen: i64) -> Stream {
        let mut all = self.known.lock();
        let before = all.get(name.as_str()).filter(|known| known.id.created == info.created);
        let (generation, seen) = match before {
            None => (0, info.end),
            Some(before) if info.end < seen => (before.id.generation.saturating_add(1), info.end),
            Some(before) => (before.id.generation, before.seen.max(info.end)),
        };
        let distrusted_until = before.and_then(|before| before.distrusted_until);
        let stalling_until = before.and_then(|before| before.stalling_until);
        let id = StreamId { name: name.as_str().into(), created: info.created, generation };
        let known =
            Known { id: id.clone(), info, seen, at: Instant::now(), distrusted_until, stalling_until };
        let stream = known.stream();
        if all.len() >= MAX_KNOWN && !all.contains_key(name.as_str()) {
            let oldest = all.values().min_by_key(|known| known.at).map(|known| Arc::clone(&known.id.name));
            oldest.and_then(|oldest| all.remove(&oldest));
        }
        all.insert(id.name, known);
        stream
    }
}

impl Known {
    fn stream(&self) -> Stream {
        let lasts = |until: Option<Instant>| until.is_some_and(|until| Instant::now() < until);
        let (is_distrusted, is_stalling) = (lasts(self.distrusted_until), lasts(self.stalling_until));
        Stream { id: self.id.clone(), info: self.info.clone(), is_distrusted, is_stalling }
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

/// The first and the last wait for a leader that is behind a replica.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LAST_PAUSE: Duration = Duration::from_millis(640);
const DISTRUST: Duration = Duration::from_secs(60);
/// The time for which a stream is read without consumers after one has stalled.
pub(super) const STALLING: Duration = Duration::from_secs(60);
/// Streams that are known at the same time, of about 200 bytes each.
const MAX_KNOWN: usize = 10_000;

#[cfg(test)]
pub(super) mod tests {
    use sluicegate_telemetry::metrics::Metrics;

    use super::*;
    use crate::connection::Connection;
    use crate::testing;
    use crate::wire::AsyncNats;

    fn info(end: i64) -> StreamInfo {
        let text = format!(
            r#"{{"created":"2026-01-01T00:00:00Z","config":{{"subjects":["s"],"retention":"limits"}},
                "state":{{"first_seq":1,"last_seq":{},"messages":1,"bytes":1}}}}"#,
            end - 1
        );
        StreamInfo::parse("s", text.as_bytes()).unwrap()
    }

    /// Streams of a cluster that is never contacted.
    pub(crate) fn without_a_server() -> (Arc<Api>, Arc<Streams>) {
        let api = Arc::new(Api::new(Connection::new(
            testing::config(),
            Arc::new(AsyncNats),
            Metrics::default().nats("n"),
        )));
        (Arc::clone(&api), Arc::new(Streams::new(api)))
    }

    /// The stream of this name, as if its leader had just said that it has this end.
    pub(crate) fn learn(streams: &Streams, name: &str, end: i64) -> Stream {
        streams.update(StreamName::parse(name).unwrap(), info(end), 0)
    }

    #[tokio::test(start_paused = true)]
    async fn stream_that_was_asked_longest_ago_is_forgotten_first() {
        let (_, streams) = without_a_server();
        for number in 0..MAX_KNOWN {
            learn(&streams, &format!("s{number}"), 1);
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        for name in ["s0", "new"] {
            learn(&streams, name, 1);
        }
        let is_known = |name| streams.known(StreamName::parse(name).unwrap()).is_some();
        assert_eq!(["s0", "s1", "s2", "new"].map(is_known), [true, false, true, true]);
        assert_eq!(streams.known.lock().len(), MAX_KNOWN);
    }

    #[test]
    fn stream_that_lost_messages_is_another_generation() {
        let (_, streams) = without_a_server();
        let name = StreamName::parse("s").unwrap();
        let first = streams.update(name, info(100), 0);
        streams.observe_end(&first.id, 500);
        // It was asked before the messages were seen.
        assert_eq!(streams.update(name, info(300), 100).id, first.id);
        let second = streams.update(name, info(300), 500).id;
        assert_eq!(second.generation, 1);
        streams.observe_end(&first.id, 600);
        assert_eq!(streams.update(name, info(300), 300).id, second, "what the first one had does not count");
    }
}
