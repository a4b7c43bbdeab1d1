//! Reads a log for one client: what there is, or a wait at the log's end with little memory.

use std::pin::Pin;
use std::time::Duration;

use sluicegate_fair_share::ClientKey;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::chunk::{AnswerSize, Chunk, Ends, assemble};
use crate::marks::FirstEntry;

/// The reads of one log that a messaging system provides for a fetch.
///
/// # Cancel safety
/// Dropping a call of a method loses its result and nothing else.
pub trait RawReads: Send {
    /// Changes whenever the records of the log may have changed.
    type Version: PartialEq + Send;
    /// The error of a read.
    type Error: Send;
    /// Finds the first of the log's encoded entries.
    const FIRST_ENTRY: FirstEntry;

    /// The log's version as far as it is known. Not older than the one that the last read has found.
    fn version(&self) -> Option<Self::Version>;

    /// Whether others wait at this position, the end of the log, and will be notified of a record.
    fn is_watched(&self, position: i64) -> bool;

    /// Reads what there is: records that were read before, or else by requests that are sent after the call. No
    /// records: the log ended at the chunk's [`Chunk::next_offset`].
    fn read_through(
        &mut self,
        position: i64,
        size: AnswerSize,
    ) -> impl Future<Output = Result<Chunk, Self::Error>> + Send;

    /// Waits for a record at the end of the log, at most until `until`. `proven` are the ends of the log if a request
    /// of this fetch has shown that there was no record. Otherwise a request that is sent after the call must prove it
    /// before the wait ends with [`Event::End`].
    fn wait(
        &mut self,
        position: i64,
        until: Instant,
        proven: Option<Ends>,
    ) -> impl Future<Output = Event> + Send;
}

/// The reason why a wait at the end of a log has ended.
#[derive(Debug, Clone)]
pub enum Event {
    /// New records, perhaps requested before the wait began.
    Records(Chunk),
    /// The time is over, and there is no record.
    End(Ends),
    /// The log must be read: it may have records.
    Read,
    /// The same after a failure: the log must be read a little later.
    Failed,
}

/// Reads records from a position on, in order and without gaps. All of them are of one version of the log.
///
/// Reads at once, unless others wait at this position already. At the end of the log it waits with room for
/// [`WAITING_BYTES`], since little arrives there at a time. A larger answer is dropped, and read again with its whole
/// room reserved: a client that never reads must not hold unreserved memory. Without that room, the answer is empty.
///
/// # Errors
/// Errors of the reads. One after the first record ends the answer; the next fetch finds it.
///
/// # Cancel safety
/// Dropping the call loses its result and nothing else.
pub async fn fetch<R: RawReads>(
    reads: &mut R,
    fetch: Fetch,
    reservation: &mut dyn AnswerReservation,
) -> Result<Chunk, R::Error> {
    let until = in_future(fetch.wait.min(MAX_WAIT));
    let mut log = LogReader {
        version: reads.version(),
        reads,
        fetch,
        read: Chunk::nothing(fetch.offset, Ends::UNKNOWN),
        is_at_end: true,
        is_proven: false,
    };
    if fetch.wait.is_zero() || !log.reads.is_watched(fetch.offset) {
        log.fill().await?;
    }
    if fetch.wait.is_zero() || !log.is_too_small() {
        return Ok(log.read);
    }
    log.shrink();
    tokio::select! {
        // Polled first: it makes room for others.
        biased;
        () = reservation.wait(WAITING_BYTES) => if !log.is_proven {
            log.begin().await?;
        },
        gathered = log.gather(until) => gathered?,
    }
    if log.read.messages.len() <= WAITING_BYTES {
        return Ok(log.read);
    }
    let Chunk { base, ends, .. } = log.read;
    log.read = Chunk::nothing(base, ends);
    if reservation.refill().await {
        log.fetch = Fetch { offset: base, ..fetch };
        log.fill().await?;
    }
    Ok(log.read)
}

/// A fetch on its way.
struct LogReader<'a, R: RawReads> {
    reads: &'a mut R,
    fetch: Fetch,
    /// The version of the log before `read` was read, if it was known then.
    version: Option<R::Version>,
    read: Chunk,
    /// Whether the log had no record after those in `read`.
    is_at_end: bool,
    /// Whether that is known since the fetch began.
    is_proven: bool,
}

impl<R: RawReads> LogReader<'_, R> {
    /// Reads what is at hand, and with [`Fetch::fill`] on until half of the room is full: a copy to fill it would cost
    /// more than the next fetch.
    async fn fill(&mut self) -> Result<(), R::Error> {
        let until = in_future(FILL_TIME);
        self.begin().await?;
        let Fetch { max_bytes, max_records, fill, .. } = self.fetch;
        let size = self.fetch.size();
        let is_half_empty = |read: &Chunk| read.is_too_small(max_bytes / 2, max_records);
        while fill && !self.is_at_end && is_half_empty(&self.read) && Instant::now() < until {
            let more = self.reads.read_through(self.read.next_offset, size);
            let Ok(more) = timeout_at(until, more).await else { break };
            if !self.add(more).await? {
                break;
            }
        }
        Ok(())
    }

    /// Leaves room for the answer of a waiting fetch.
    fn shrink(&mut self) {
        let Self { fetch, read, .. } = self;
        fetch.max_bytes = fetch.max_bytes.min(WAITING_BYTES);
        if read.count == 0 {
            read.base = read.next_offset;
        }
    }

    /// Waits at the end of the log until there are enough records, or until `until`.
    async fn gather(&mut self, until: Instant) -> Result<(), R::Error> {
        while self.is_too_small() && (!self.is_proven || Instant::now() < until) {
            let position = self.read.next_offset;
            let mut records = None;
            if self.is_at_end {
                let proven = self.is_proven.then_some(self.read.ends);
                match self.reads.wait(position, until, proven).await {
                    Event::Records(chunk) => {
                        let some = assemble(&[chunk], position, self.fetch.size(), R::FIRST_ENTRY);
                        // Without records for this position, the chunk proves no end.
                        records = Some(some).filter(|some| some.count > 0);
                    }
                    Event::End(ends) => {
                        (self.read.ends, self.is_proven) = (ends, true);
                        break;
                    }
                    Event::Read => {}
                    Event::Failed => sleep_until(until.min(in_future(PAUSE))).await,
                }
            }
            let more = match records {
                Some(records) => Ok(records),
                None => self.reads.read_through(position, self.fetch.size()).await,
            };
            if !self.add(more).await? {
                break;
            }
        }
        Ok(())
    }

    /// Reads from the first position on.
    async fn begin(&mut self) -> Result<(), R::Error> {
        let version = self.reads.version();
        let (offset, size) = (self.fetch.offset, self.fetch.size());
        (self.read, self.is_proven) = (Chunk::nothing(offset, Ends::UNKNOWN), false);
        self.read = self.reads.read_through(offset, size).await?;
        self.version = version.or_else(|| self.reads.version());
        (self.is_at_end, self.is_proven) = (self.read.count == 0, true);
        Ok(())
    }

    /// Appends records. Begins again if the version of the log has changed: it can have others at these positions, and
    /// fewer. False if no more fit, or can be read.
    async fn add(&mut self, more: Result<Chunk, R::Error>) -> Result<bool, R::Error> {
        let newest = self.reads.version();
        if newest.is_some() && newest != self.version {
            if self.version.is_some() || self.read.count > 0 {
                self.begin().await?;
                return Ok(true);
            }
            self.version = newest;
        }
        let more = match more {
            Err(_) if self.read.count > 0 => return Ok(false),
            more => more?,
        };
        (self.is_at_end, self.is_proven) = (more.count == 0, true);
        let (longer, is_whole) = self.read.append(&more, self.fetch.size(), R::FIRST_ENTRY);
        self.read = longer;
        Ok(is_whole)
    }

    /// Whether the fetch waits for more records.
    fn is_too_small(&self) -> bool {
        let Fetch { min_bytes, max_bytes, max_records, .. } = self.fetch;
        self.read.is_too_small(min_bytes.min(max_bytes), max_records)
    }
}

fn in_future(time: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(time).unwrap_or(now)
}

/// The time for which a fetch reads on to fill its answer.
const FILL_TIME: Duration = Duration::from_millis(250);

/// The pause of a wait after a failure.
const PAUSE: Duration = Duration::from_millis(100);

/// A fetch from a log.
#[derive(Debug, Clone, Copy)]
pub struct Fetch {
    /// The position of the first record: from the log's start up to and including its end.
    pub offset: i64,
    /// The largest encoded answer in bytes. A single record is delivered even if it is larger.
    pub max_bytes: usize,
    /// The time to wait at the end of the log for `min_bytes`, up to [`MAX_WAIT`]. Zero: no wait.
    pub wait: Duration,
    /// The records to wait for, in bytes of the answer, at most [`WAITING_BYTES`]. 0 and 1: one record.
    pub min_bytes: usize,
    /// The largest number of records; 0: as many as fit.
    pub max_records: usize,
    /// Whether to read on until the answer is half full or the log ends, for a quarter of a second at most. Otherwise
    /// the answer is what is at hand: a single record, if others were written since it was read.
    pub fill: bool,
    /// Whether records of open and aborted transactions are left out.
    pub committed: bool,
    /// Whether values and keys with a schema are given as JSON.
    pub decode: bool,
    /// The client that fetches. Clients that share a request, or wait for the same limit, are told apart by it.
    pub source: ClientKey,
}

impl Fetch {
    /// The largest answer.
    pub fn size(&self) -> AnswerSize {
        AnswerSize { bytes: self.max_bytes, entries: self.max_records }
    }
}

/// The memory reserved for a fetch's answer. `()` is for fetches that do not wait.
pub trait AnswerReservation: Send {
    /// Gives back all but `keep` bytes while the fetch waits at the end of the log. Ready when it must stop waiting.
    fn wait(&mut self, keep: usize) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;

    /// Reserves again what [`AnswerReservation::wait`] gave back. False if there is no room now.
    fn refill(&mut self) -> Pin<Box<dyn Future<Output = bool> + Send + '_>>;
}

impl AnswerReservation for () {
    fn wait(&mut self, _: usize) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {})
    }

    fn refill(&mut self) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        Box::pin(async { true })
    }
}

/// Bytes reserved for the answer of a waiting fetch. Small, so that many can wait in one session.
pub const WAITING_BYTES: usize = 16 * 1024;

/// The longest wait at the end of a log; longer waits are shortened to it.
pub const MAX_WAIT: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
