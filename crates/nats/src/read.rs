//! Reads of a cluster.

use std::sync::Arc;
use std::time::Duration;

use sluicegate_backend::{AnswerReservation, Fetch, LOG_END, LOG_START, ListedOffset, MAX_TIMESTAMP};
use sluicegate_fair_share::ClientKey;
use sluicegate_shared_log::{
    AnswerSize, Chunk, ClusterLogs, Ends, Event, FirstEntry, RawReads, SingleFlight,
};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::{Instant, timeout_at};

use super::api::{Api, MessageQuery};
use super::entries::first_entry;
use super::error::ReadError;
use super::read_through::ReadThrough;
use super::stream_name::StreamName;
use super::streams::{StreamId, Streams};
use super::tail::Tails;

/// Reads from one cluster.
pub(super) struct Reader {
    api: Arc<Api>,
    streams: Arc<Streams>,
    tails: Arc<Tails>,
    reads: ReadThrough,
    listings: SingleFlight<(Arc<str>, i64), Result<ListedOffset, ReadError>>,
    names: SingleFlight<(), Result<Arc<[String]>, ReadError>>,
}

/// The reads of one fetch.
struct StreamReads<'a> {
    reader: &'a Reader,
    name: StreamName<'a>,
    source: ClientKey,
    /// The stream of the last read.
    id: Option<StreamId>,
}

impl RawReads for StreamReads<'_> {
    type Version = StreamId;
    type Error = ReadError;
    const FIRST_ENTRY: FirstEntry = first_entry;

    fn version(&self) -> Option<StreamId> {
        self.id.clone()
    }

    fn is_watched(&self, position: i64) -> bool {
        self.reader.is_watched(self.name, position)
    }

    async fn read_through(&mut self, position: i64, size: AnswerSize) -> Result<Chunk, ReadError> {
        let (chunk, id) = self.reader.reads.read(self.source, self.name, position, size).await?;
        self.id = Some(id);
        Ok(chunk)
    }

    /// The end is proven each time: others can pause the consumer that delivers messages.
    async fn wait(&mut self, position: i64, until: Instant, _: Option<Ends>) -> Event {
        let ends = self.reader.wait_for_records(self.name, position, Some(until)).await;
        ends.map_or(Event::Read, Event::End)
    }
}

impl Reader {
    /// Keeps what it has read in `logs`. Sends nothing before the first call.
    pub(super) fn new(api: Api, logs: ClusterLogs) -> Self {
        let (api, logs) = (Arc::new(api), Arc::new(logs));
        let streams = Arc::new(Streams::new(Arc::clone(&api)));
        let tails = Arc::new(Tails::new(Arc::clone(&api), Arc::clone(&streams), Arc::clone(&logs)));
        let reads = ReadThrough::new(Arc::clone(&api), Arc::clone(&streams), Arc::clone(&tails), logs);
        Self { api, streams, tails, reads, listings: SingleFlight::default(), names: SingleFlight::default() }
    }

    /// Succeeds if JetStream answers, with the server's version.
    pub(super) async fn check(&self) -> Result<String, ReadError> {
        self.api.check_account().await?;
        Ok(self.api.server_version())
    }

    /// Whether a server is connected, as far as is known.
    pub(super) fn is_connected(&self) -> bool {
        self.api.connection.current().is_some()
    }

    /// The id of the stream, as its leader says to a request that is sent after the call.
    pub(super) async fn ask_stream_id(&self, name: StreamName<'_>) -> Result<u128, ReadError> {
        self.streams.ask(name).await.map(|stream| stream.id.created)
    }

    /// Distinguishes the stream from others of its name, as of the last answer of its leader; `None` if it was not
    /// asked.
    pub(super) fn stream_id(&self, name: StreamName<'_>) -> Option<u128> {
        self.streams.known(name).map(|(stream, _)| stream.id.created)
    }

    /// The shortest time for which a message of the stream stays, if messages can have one of their own.
    pub(super) async fn shortest_life(&self, name: StreamName<'_>) -> Result<Option<Duration>, ReadError> {
        let stream = self.streams.ask(name).await?;
        Ok(stream.info.has_lifetimes.then_some(SHORTEST_LIFE))
    }

    /// The end of the stream as known from what was read lately.
    pub(super) fn known_end(&self, name: StreamName<'_>) -> Option<i64> {
        self.reads.known_end(name)
    }

    /// Drops the messages of a stream that were read before.
    pub(super) fn forget(&self, stream: &str) {
        self.reads.forget(stream);
    }

    /// Messages that were read before, without a request.
    pub(super) fn recent(&self, name: StreamName<'_>, fetch: Fetch) -> Option<Chunk> {
        self.reads.recent(name, fetch.offset, fetch.size())
    }

    /// Reads messages from a sequence on. Sequence 0 asks for the first one, whatever its sequence is.
    pub(super) async fn fetch(
        &self,
        name: StreamName<'_>,
        fetch: Fetch,
        reservation: &mut dyn AnswerReservation,
    ) -> Result<Chunk, ReadError> {
        if fetch.offset < 0 {
            return Err(ReadError::OutOfRange { sequence: fetch.offset, ends: Ends::UNKNOWN });
        }
        let mut reads = StreamReads { reader: self, name, source: fetch.source, id: None };
        sluicegate_shared_log::fetch(&mut reads, fetch, reservation).await
    }

    /// Whether others wait at this offset, and will be told of a message.
    pub(super) fn is_watched(&self, name: StreamName<'_>, offset: i64) -> bool {
        self.streams.known(name).is_some_and(|(stream, _)| self.tails.is_watched(&stream.id, offset))
    }

    /// Waits until the stream may have messages at `offset` or after it, or until `until`: a request that is sent then
    /// gives the ends of the stream, if there is no such message.
    pub(super) async fn wait_for_records(
        &self,
        name: StreamName<'_>,
        offset: i64,
        until: Option<Instant>,
    ) -> Option<Ends> {
        let wait = self.tails.wait(name, offset);
        let Some(until) = until else {
            wait.await;
            return None;
        };
        if timeout_at(until, wait).await.is_ok() {
            return None;
        }
        let stream = self.streams.ask(name).await.ok()?;
        (stream.info.end == offset).then(|| stream.ends())
    }

    /// An end of the stream, its last message, or the first one that was stored at this time or later, in milliseconds
    /// since 1970.
    pub(super) async fn list_offset(
        &self,
        name: StreamName<'_>,
        timestamp: i64,
    ) -> Result<ListedOffset, ReadError> {
        let none = ListedOffset { offset: -1, timestamp: -1 };
        let time = match timestamp {
            LOG_START => return self.end(name, |ends| ends.start).await,
            LOG_END => return self.end(name, |ends| ends.end).await,
            MAX_TIMESTAMP => None,
            0.. => match rfc3339(timestamp) {
                Some(time) => Some(time),
                // No message can be that late.
                None => return Ok(none),
            },
            _ => {
                let problem = format!(
                    "timestamp {timestamp}: expected milliseconds, -1 (end), -2 (start) or -3 (last message)"
                );
                return Err(ReadError::Invalid(problem));
            }
        };
        let request = || async {
            let query = time.as_deref().map_or(MessageQuery::LAST, MessageQuery::since);
            let message = self.api.message(name, query).await?;
            Ok(message.map_or(none, |message| ListedOffset {
                offset: message.offset,
                timestamp: message.timestamp,
            }))
        };
        let key = (name.as_str().into(), timestamp);
        let listed = self.listings.run_within(self.api.timeout(), key, request).await;
        listed.unwrap_or_else(|| Err(self.api.silence(&format!("STREAM.MSG.GET.{name}"))))
    }

    async fn end(
        &self,
        name: StreamName<'_>,
        end: impl FnOnce(Ends) -> i64,
    ) -> Result<ListedOffset, ReadError> {
        let stream = self.streams.ask(name).await?;
        Ok(ListedOffset { offset: end(stream.ends()), timestamp: -1 })
    }

    /// The sorted names of all streams but internal ones.
    pub(super) async fn stream_names(&self) -> Result<Arc<[String]>, ReadError> {
        let request = || async {
            let mut names = self.api.stream_names().await?;
            names.retain(|name| !name.starts_with(INTERNAL));
            names.sort_unstable();
            // Pages can overlap while streams are created.
            names.dedup();
            Ok(names.into())
        };
        let names = self.names.run_within(self.api.timeout(), (), request).await;
        names.unwrap_or_else(|| Err(self.api.silence("STREAM.NAMES")))
    }
}

/// A time in milliseconds since 1970 as text; `None` if it is later than servers can count in nanoseconds.
fn rfc3339(timestamp: i64) -> Option<String> {
    let nanoseconds = timestamp.checked_mul(1_000_000)?;
    OffsetDateTime::from_unix_timestamp_nanos(nanoseconds.into()).ok()?.format(&Rfc3339).ok()
}

/// The shortest lifetime of a message that nats-server takes.
const SHORTEST_LIFE: Duration = Duration::from_secs(1);

/// The first character of the names of nats-server's own streams.
const INTERNAL: char = '$';

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_servers_read_them() {
        assert_eq!(rfc3339(0).unwrap(), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(1_700_000_000_123).unwrap(), "2023-11-14T22:13:20.123Z");
        assert_eq!(rfc3339(i64::MAX / 1_000_000).unwrap(), "2262-04-11T23:47:16.854Z");
        assert_eq!([i64::MAX / 1_000_000 + 1, i64::MAX].map(rfc3339), [None, None]);
    }
}
