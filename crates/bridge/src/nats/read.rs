//! Reads of a cluster: what there is, or a wait at the end of a stream with little memory.

use std::sync::Arc;
use std::time::Duration;

use sluicegate_shared_log::{Chunk, ClusterLogs, Ends, Flights};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::{Instant, timeout_at};

use super::api::{Api, MessageQuery};
use super::entries::{fetched, first_entry, is_half_empty, is_too_small};
use super::error::ReadError;
use super::look::{Found, Looks};
use super::stream_name::StreamName;
use super::streams::Streams;
use super::tail::Tails;
use crate::backend::{
    AnswerReservation, Fetch, Fetched, LOG_END, LOG_START, ListedOffset, MAX_TIMESTAMP, WAITING_BYTES,
};

/// Reads from one cluster.
pub(super) struct Reader {
    api: Arc<Api>,
    streams: Arc<Streams>,
    tails: Arc<Tails>,
    looks: Looks,
    listings: Flights<(Arc<str>, i64), Result<ListedOffset, ReadError>>,
    names: Flights<(), Result<Arc<[String]>, ReadError>>,
}

impl Reader {
    /// Keeps what it has read in `logs`. Sends nothing before the first call.
    pub(super) fn new(api: Api, logs: ClusterLogs) -> Self {
        let (api, logs) = (Arc::new(api), Arc::new(logs));
        let streams = Arc::new(Streams::new(Arc::clone(&api)));
        let tails = Arc::new(Tails::new(Arc::clone(&api), Arc::clone(&streams), Arc::clone(&logs)));
        let looks = Looks::new(Arc::clone(&api), Arc::clone(&streams), Arc::clone(&tails), logs);
        Self { api, streams, tails, looks, listings: Flights::default(), names: Flights::default() }
    }

    /// Succeeds if JetStream answers, with the server's version.
    pub(super) async fn check(&self) -> Result<String, ReadError> {
        self.api.check_account().await?;
        Ok(self.api.server_version())
    }

    /// The id of the stream, as its leader says to a request that is sent after the call.
    pub(super) async fn ask_stream_id(&self, name: StreamName<'_>) -> Result<u128, ReadError> {
        self.streams.ask(name).await.map(|stream| stream.id.created)
    }

    /// Distinguishes the stream from others of its name, as of the last answer of its leader; `None` if it was not asked.
    pub(super) fn stream_id(&self, name: StreamName<'_>) -> Option<u128> {
        self.streams.known(name).map(|(stream, _)| stream.id.created)
    }

    /// The end of the stream as known from what was read lately.
    pub(super) fn known_end(&self, name: StreamName<'_>) -> Option<i64> {
        self.looks.known_end(name)
    }

    /// What was read before, without a request.
    pub(super) fn recent(&self, name: StreamName<'_>, fetch: Fetch) -> Option<Fetched> {
        let Fetch { offset, max_bytes, max_records, .. } = fetch;
        self.looks.recent(name, offset, max_bytes).map(|chunk| fetched(chunk, max_records))
    }

    /// Reads at once, unless others wait at this offset already. At the end of the stream it waits with room for
    /// [`WAITING_BYTES`], since little arrives there at a time.
    ///
    /// A larger answer is dropped and read again with its whole room reserved: a client that never reads must not hold
    /// unreserved memory. Without that room, the answer is empty.
    pub(super) async fn fetch(
        &self,
        name: StreamName<'_>,
        fetch: Fetch,
        reservation: &mut dyn AnswerReservation,
    ) -> Result<Fetched, ReadError> {
        let Fetch { offset, max_bytes, wait, min_bytes, max_records, .. } = fetch;
        if offset < 0 {
            return Err(ReadError::OutOfRange { sequence: offset, ends: Ends::UNKNOWN });
        }
        let is_watched = !wait.is_zero() && self.is_watched(name, offset);
        let looked = match is_watched {
            true => None,
            false => Some(self.look(name, fetch).await?),
        };
        let is_enough = |found: &Found| wait.is_zero() || !is_too_small(&found.chunk, &fetch);
        if let Some(found) = looked.as_ref().filter(|found| is_enough(found)) {
            return Ok(fetched(found.chunk.clone(), max_records));
        }
        let end = looked.as_ref().filter(|looked| looked.chunk.count == 0);
        let small = Fetch {
            offset: end.map_or(offset, |end| end.chunk.next),
            max_bytes: max_bytes.min(WAITING_BYTES),
            min_bytes: min_bytes.min(WAITING_BYTES),
            ..fetch
        };
        let waited = tokio::select! {
            // Polled first: it makes room for others.
            biased;
            () = reservation.wait(WAITING_BYTES) => match looked {
                Some(looked) => looked.chunk,
                None => self.looks.look(fetch.source, name, offset, small.max_bytes).await?.chunk,
            },
            waited = self.wait_and_look(name, small, end) => waited?,
        };
        if waited.entries.len() <= WAITING_BYTES {
            return Ok(fetched(waited, max_records));
        }
        let Chunk { base, ends, .. } = waited;
        if reservation.refill().await {
            return self
                .looks
                .look(fetch.source, name, base, max_bytes)
                .await
                .map(|found| fetched(found.chunk, max_records));
        }
        Ok(Fetched::nothing(base, ends))
    }

    /// Messages at hand, up to what the fetch wants.
    async fn look(&self, name: StreamName<'_>, fetch: Fetch) -> Result<Found, ReadError> {
        let Fetch { offset, max_bytes, .. } = fetch;
        let now = Instant::now();
        let until = now.checked_add(FILL_TIME).unwrap_or(now);
        let Found { mut chunk, id } = self.looks.look(fetch.source, name, offset, max_bytes).await?;
        while chunk.count > 0 && is_half_empty(&chunk, &fetch) {
            let more = timeout_at(until, self.looks.look(fetch.source, name, chunk.next, max_bytes)).await;
            // There are messages to answer with.
            let Ok(Ok(more)) = more else { break };
            if more.id != id {
                break;
            }
            let (longer, is_whole) = chunk.append(&more.chunk, max_bytes, first_entry);
            chunk = longer;
            if more.chunk.count == 0 || !is_whole {
                break;
            }
        }
        Ok(Found { chunk, id })
    }

    /// Waits for records in small parts; `end` is what was found at the end of the stream a moment ago.
    async fn wait_and_look(
        &self,
        name: StreamName<'_>,
        fetch: Fetch,
        end: Option<&Found>,
    ) -> Result<Chunk, ReadError> {
        let Fetch { offset, max_bytes, wait, .. } = fetch;
        let now = Instant::now();
        let until = now.checked_add(wait.min(MAX_WAIT)).unwrap_or(now);
        let (mut id, mut read) = match end {
            Some(Found { chunk, id }) => (id.clone(), Chunk::empty(offset, chunk.ends)),
            None => {
                if self.is_watched(name, offset)
                    && let Some(ends) = self.wait_for_records(name, offset, Some(until)).await
                {
                    return Ok(Chunk::empty(offset, ends));
                }
                let Found { chunk, id } = self.looks.look(fetch.source, name, offset, max_bytes).await?;
                (id, chunk)
            }
        };
        let mut is_at_end = read.count == 0;
        while is_too_small(&read, &fetch) && Instant::now() < until {
            if is_at_end && let Some(ends) = self.wait_for_records(name, read.next, Some(until)).await {
                return Ok(Chunk { ends, ..read });
            }
            let mut more = match self.looks.look(fetch.source, name, read.next, max_bytes).await {
                Ok(more) => more,
                // The messages before are an answer, and the next fetch finds the error.
                Err(_) if read.count > 0 => break,
                Err(error) => return Err(error),
            };
            if more.id != id {
                // Another stream, or other messages, from the beginning.
                read = Chunk::empty(offset, Ends::UNKNOWN);
                more = self.looks.look(fetch.source, name, offset, max_bytes).await?;
                id = more.id;
            }
            is_at_end = more.chunk.count == 0;
            let (longer, is_whole) = read.append(&more.chunk, max_bytes, first_entry);
            read = longer;
            if !is_whole {
                break;
            }
        }
        Ok(read)
    }

    /// Whether others wait at this offset, and will be told of a message.
    pub(super) fn is_watched(&self, name: StreamName<'_>, offset: i64) -> bool {
        self.streams.known(name).is_some_and(|(stream, _)| self.tails.is_watched(&stream.id, offset))
    }

    /// Waits until the stream may have messages at `offset` or after it, or until `until`: a request that is sent then gives the ends
    /// of the stream, if there is no such message.
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

    /// An end of the stream, its last message, or the first one that was stored at this time or later, in milliseconds since 1970.
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
        let request = async {
            let query = time.as_deref().map_or(MessageQuery::LAST, MessageQuery::since);
            let message = self.api.message(name, query).await?;
            Ok(message.map_or(none, |message| ListedOffset {
                offset: message.offset,
                timestamp: message.timestamp,
            }))
        };
        self.listings.ask((name.as_str().into(), timestamp), |_| false, || None, request).await
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
        let request = async {
            let mut names = self.api.stream_names().await?;
            names.retain(|name| !name.starts_with(INTERNAL));
            names.sort_unstable();
            // Pages can overlap while streams are created.
            names.dedup();
            Ok(names.into())
        };
        self.names.ask((), |()| false, || None, request).await
    }
}

/// A time in milliseconds since 1970 as text; `None` if it is later than servers can count in nanoseconds.
fn rfc3339(timestamp: i64) -> Option<String> {
    let nanoseconds = timestamp.checked_mul(1_000_000)?;
    OffsetDateTime::from_unix_timestamp_nanos(nanoseconds.into()).ok()?.format(&Rfc3339).ok()
}

/// The longest wait at the end of a stream; longer waits are shortened to it.
const MAX_WAIT: Duration = Duration::from_secs(60);
/// How long a fetch reads on to fill its answer.
const FILL_TIME: Duration = Duration::from_millis(250);
/// What names of nats-server's own streams begin with.
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
