//! Reads what a stream has: kept messages, or a request that many callers share.

use std::ops::Range;
use std::sync::Arc;

use futures_util::future::join_all;
use sluicegate_fair_share::{ClientKey, Ledger, Places};
use sluicegate_protocol::KafkaMessage;
use sluicegate_shared_log::{AnswerSize, Chunk, ClusterLogs, Ends, SingleFlight, assemble};
use tokio::time::{Instant, timeout};

use super::api::{Api, MessageQuery, StreamInfo};
use super::entries::{Entries, first_entry};
use super::error::ReadError;
use super::stream_name::StreamName;
use super::streams::{Stream, StreamId, Streams};
use super::tail::Tails;
use super::walk::Walks;

/// Reads messages, and keeps them for others.
pub(super) struct ReadThrough {
    api: Arc<Api>,
    streams: Arc<Streams>,
    tails: Arc<Tails>,
    walks: Walks,
    logs: Arc<ClusterLogs>,
    requests: SingleFlight<(StreamId, i64), Result<Chunk, ReadError>>,
    /// For reads: each client can have its share, and those that wait take turns.
    places: Arc<Places>,
    /// The same for those of one message at a time.
    single: Arc<Places>,
}

impl ReadThrough {
    pub(super) fn new(
        api: Arc<Api>,
        streams: Arc<Streams>,
        tails: Arc<Tails>,
        logs: Arc<ClusterLogs>,
    ) -> Self {
        let walks = Walks::new(Arc::clone(&api), Arc::clone(&streams));
        let [places, single] =
            [MAX_READS, MAX_SINGLE].map(|max| Places::with_shares(Ledger::of_one_cluster(max)));
        Self { api, streams, tails, walks, logs, requests: SingleFlight::default(), places, single }
    }

    /// Messages that were read before, without a request.
    pub(super) fn recent(&self, name: StreamName<'_>, offset: i64, size: AnswerSize) -> Option<Chunk> {
        self.kept(&self.tails.current(name)?.id, offset, size)
    }

    pub(super) fn known_end(&self, name: StreamName<'_>) -> Option<i64> {
        self.logs.end(&self.tails.current(name)?.id.key())
    }

    pub(super) fn forget(&self, stream: &str) {
        self.logs.forget(stream, 0);
    }

    /// The messages from `offset` on, and their stream: of those that were read before, or else by a request that was
    /// sent after this call began.
    pub(super) async fn read(
        &self,
        source: ClientKey,
        name: StreamName<'_>,
        offset: i64,
        size: AnswerSize,
    ) -> Result<(Chunk, StreamId), ReadError> {
        let read = self.read_again(source, name, offset, size);
        timeout(self.api.timeout(), read)
            .await
            .unwrap_or_else(|_| Err(self.api.silence(&format!("DIRECT.GET.{name}"))))
    }

    /// Reads until the stream stays the same, and the connection too.
    async fn read_again(
        &self,
        source: ClientKey,
        name: StreamName<'_>,
        offset: i64,
        size: AnswerSize,
    ) -> Result<(Chunk, StreamId), ReadError> {
        let mut lost = 0_u32;
        let mut recreated = 0_u32;
        loop {
            let stream = self.tails.stream(name).await?;
            let id = stream.id.clone();
            let key = (id.clone(), offset);
            let near = |(other, from): &(StreamId, i64)| *other == id && offset.saturating_sub(*from) < NEAR;
            let known = || self.kept(&id, offset, size).map(Ok);
            let request = || self.request(source, name, &stream, offset, size.bytes);
            match self.requests.run(key, near, known, request).await {
                Ok(chunk) if chunk.count > 0 => {
                    // It can be more than this call wants.
                    return Ok((assemble(&[chunk], offset, size, first_entry), id));
                }
                Ok(chunk) => return Ok((chunk, id)),
                Err(ReadError::Recreated) if recreated < MAX_REPEATS => {
                    recreated = recreated.saturating_add(1)
                }
                Err(ReadError::Lost) if lost < MAX_REPEATS => {
                    // A server that ends, or a message that async-nats cannot parse.
                    if lost > 0 {
                        self.streams.distrust(name);
                    }
                    lost = lost.saturating_add(1);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn kept(&self, id: &StreamId, offset: i64, size: AnswerSize) -> Option<Chunk> {
        let now = Instant::now().into();
        self.logs.read(&id.key(), id.generation, offset, size, first_entry, now)
    }

    /// Requests messages, and keeps them.
    async fn request(
        &self,
        source: ClientKey,
        name: StreamName<'_>,
        known: &Stream,
        offset: i64,
        max_bytes: usize,
    ) -> Result<Chunk, ReadError> {
        let _place = self.places.acquire(source.into()).await;
        self.logs.count_miss();
        let max_bytes = max_bytes.max(MIN_BYTES);
        let ahead = self.ahead(source, name, known, offset).await;
        let is_ahead = ahead.is_some();
        let (batch, stream) = match ahead {
            Some((messages, stream)) => (Ok(Some(messages)), stream),
            None => {
                let batch = self.batch(name, known, offset, max_bytes).await;
                (batch, self.streams.ask(name).await)
            }
        };
        let stream = stream?;
        // The leader was asked after the batch was read, so these are messages of this stream, as far as the servers
        // know of its deletion. A walk has one stream.
        if stream.id != known.id {
            return Err(ReadError::Recreated);
        }
        let batch = match batch {
            Err(error @ (ReadError::Lost | ReadError::Denied { .. })) => return Err(error),
            // The leader can answer if no replica does.
            Err(_) | Ok(None) => None,
            // Messages that a walk has read ahead can be deleted by now.
            Ok(Some(_)) if is_ahead && offset < stream.info.first => None,
            Ok(Some(batch)) => Some(batch).filter(|batch| !batch.is_empty()),
        };
        let StreamInfo { first, end, .. } = stream.info;
        // Offset 0 asks for the first message, whatever its sequence is.
        let is_missing = (1..first).contains(&offset) || offset > end;
        // A replica can have discarded what its leader still has.
        let batch = match batch {
            Some(batch) if offset > 0 && offset.max(first) < batch.first() => {
                let message = self.api.message(name, MessageQuery::from(offset.max(first))).await?;
                Some(batch).filter(|batch| message.is_none_or(|found| found.offset >= batch.first()))
            }
            batch => batch,
        };
        // Replicas can be behind the leader.
        let is_single = batch.is_none() && !is_missing && offset.max(first) < end;
        let (messages, next) = match batch {
            Some(batch) => {
                let next = batch.last().saturating_add(1);
                (batch, next)
            }
            None if is_missing => {
                self.logs.invalidate(&stream.id.key(), offset);
                return Err(ReadError::OutOfRange { sequence: offset, ends: stream.ends() });
            }
            None if is_single => self.single(source, name, &stream, offset.max(first), max_bytes).await?,
            None => (Entries::default(), end),
        };
        // The messages of a gap can be discarded by the stream after the leader was asked, and those that were read one
        // by one be of another stream.
        let stream = match is_single || messages.doubtful_gaps(offset, next, first).next().is_some() {
            true => self.streams.ask_after(name, &known.id, &messages).await?,
            false => stream,
        };
        if stream.id != known.id {
            return Err(ReadError::Recreated);
        }
        // Readers from 0 on are not told of messages that were discarded before the first one.
        let next = if offset == 0 && messages.is_empty() { next.max(stream.info.first) } else { next };
        self.keep(&stream, messages, offset..next, max_bytes)
    }

    /// Keeps messages that were read before the leader was asked, and gives the part of them that begins where `range`
    /// does. The stream has none in the rest of the range, or has discarded them.
    ///
    /// # Errors
    /// [`ReadError::OutOfRange`] if it has discarded those that the range begins with.
    fn keep(
        &self,
        stream: &Stream,
        messages: Entries,
        range: Range<i64>,
        max_bytes: usize,
    ) -> Result<Chunk, ReadError> {
        let (key, ends, now) = (stream.id.key(), stream.ends(), Instant::now().into());
        self.logs.count_received(messages.len());
        let chunks = messages.into_chunks(range.clone(), ends);
        let is_lost = chunks.len() > 1 || ends.start > range.start && range.start > 0;
        let is_lost = is_lost && chunks.first().is_some_and(|first| first.count == 0);
        let read_on = chunks.get(1).map_or(ends.start, |chunk| chunk.base);
        self.streams.observe_end(&stream.id, chunks.last().map_or(range.end, |last| last.next_offset));
        let insert =
            |chunk| self.logs.insert_parts(&key, stream.id.generation, chunk, max_bytes, first_entry, now);
        let mut parts = chunks.into_iter().map(insert).collect::<Vec<Chunk>>().into_iter();
        match parts.next() {
            Some(first) if !is_lost => Ok(first),
            _ => Err(ReadError::OutOfRange { sequence: range.start, ends: Ends { start: read_on, ..ends } }),
        }
    }

    /// Messages of a walk, and the answer of the leader.
    async fn ahead(
        &self,
        source: ClientKey,
        name: StreamName<'_>,
        known: &Stream,
        offset: i64,
    ) -> Option<(Entries, Result<Stream, ReadError>)> {
        let continues = || self.kept(&known.id, offset.saturating_sub(1), AnswerSize::of_bytes(1)).is_some();
        let start = self.walks.at(source, known, offset, continues)?;
        let (messages, stream) =
            tokio::join!(self.walks.read(name, known, offset, start), self.streams.ask(name));
        let messages = messages?;
        // Nothing proves that a consumer has left out only what was deleted: others can change it.
        if messages.doubtful_gaps(offset, messages.last(), known.info.first).next().is_some() {
            self.walks.failed(known);
            return None;
        }
        Some((messages, stream))
    }

    /// Messages in one answer of any replica; `None` if the stream cannot be read like that.
    async fn batch(
        &self,
        name: StreamName<'_>,
        known: &Stream,
        offset: i64,
        max_bytes: usize,
    ) -> Result<Option<Entries>, ReadError> {
        if !known.info.is_direct || known.is_distrusted {
            return Ok(None);
        }
        // Half of the time is left to ask the leader.
        let now = Instant::now();
        let deadline = now.checked_add(self.api.timeout() / 2).unwrap_or(now);
        self.api.batch(name, offset.max(1), max_bytes, deadline).await.map(Some)
    }

    /// A few messages from `from` on, which the stream's end is beyond, each in an answer of the leader; and where to
    /// read on.
    async fn single(
        &self,
        source: ClientKey,
        name: StreamName<'_>,
        stream: &Stream,
        from: i64,
        max_bytes: usize,
    ) -> Result<(Entries, i64), ReadError> {
        let _place = self.single.acquire(source.into()).await;
        let StreamInfo { end, average, .. } = stream.info;
        let count = max_bytes.checked_div(average).unwrap_or_default().clamp(1, MAX_AT_ONCE);
        let count = i64::try_from(count).unwrap_or(1);
        let next = from.saturating_add(count).min(end);
        // The first one steps over a gap of any length.
        let first = std::iter::once(MessageQuery::from(from));
        let queries = first.chain((from..next).skip(1).map(MessageQuery::at));
        let answers = join_all(queries.map(|query| self.api.message(name, query))).await;
        let answers: Vec<Option<KafkaMessage>> = answers.into_iter().collect::<Result<_, _>>()?;
        let mut found: Vec<KafkaMessage> = answers.into_iter().flatten().collect();
        found.sort_by_key(|message| message.offset);
        let mut messages = Entries::default();
        for message in &found {
            // The first query can find what another one finds.
            messages.push(message);
        }
        // Without a message, there is none up to the end.
        let next = if messages.is_empty() { end } else { next };
        Ok((messages, next))
    }
}

/// The least that a request asks for, in bytes: others can want what follows.
const MIN_BYTES: usize = 64 * 1024;
/// Reads at the same time. Their batches leave some of [`MAX_EXPECTED`](super::session::MAX_EXPECTED) answers to other
/// requests.
const MAX_READS: usize = 48;
/// The range that a request in flight probably reads.
const NEAR: i64 = 256;
/// The number of times that a read begins again if the connection is lost, or if the stream is created again.
const MAX_REPEATS: u32 = 3;
/// Messages that one read asks the leader for at the same time.
const MAX_AT_ONCE: usize = 16;
/// Reads of that kind at the same time. In the worst case they hold this times [`MAX_AT_ONCE`] messages of the largest
/// size.
const MAX_SINGLE: usize = 8;
