//! Values and keys with a schema as JSON: decoded once, for all clients that want them.

mod entry;

use std::cell::RefCell;
use std::collections::HashMap;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Buf, Bytes};
use parking_lot::Mutex;
use sluicegate_backend::rate::ClusterRate;
use sluicegate_backend::{Chunk, CommandError, Fault, Fetch, WAITING_BYTES};
use sluicegate_fair_share::{ClientKey, Holder, Places};
use sluicegate_schemas::registry::{Known, Missing, Registry, Silence};
use sluicegate_schemas::wire::SchemaId;
use sluicegate_shared_log::{ClusterLogs, LogKey, SingleFlight, assemble};
use sluicegate_telemetry::metrics::DecodeMetrics;
use tokio::task::{spawn_blocking, yield_now};
use tokio::time::{Instant, timeout_at};

use sluicegate_reader::first_entry;

use self::entry::{Converter, Entry};
use super::MANY;

/// The schemas of a cluster's records.
#[derive(Clone)]
pub struct Schemas {
    /// Where they are looked up.
    pub registry: Arc<Registry>,
    /// Whether records come as they are stored while the registry does not answer. Otherwise, they are waited for.
    pub gives_bytes: bool,
    /// Threads that decode, of all clusters.
    pub places: Arc<Places>,
}

impl Schemas {
    /// Runs work on a thread for such, once it is the holder's turn.
    ///
    /// # Cancel safety
    /// Work that has begun goes on.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        holder: Holder,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let place = self.places.acquire(holder).await;
        let running = spawn_blocking(move || {
            let done = work();
            drop(place);
            done
        });
        match running.await {
            Ok(done) => done,
            Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
            // The runtime ends, and this call with it.
            Err(_) => std::future::pending().await,
        }
    }
}

/// Decodes the records of one cluster.
pub(crate) struct Decoding {
    schemas: Schemas,
    /// Decoded records.
    logs: ClusterLogs,
    /// Held while a few records are decoded at once: all who want the same ones wait for the first.
    at_once: Mutex<()>,
    /// Until then, unknown schemas are not waited for where records come as they are stored: the registry was silent.
    silent_until: Mutex<Option<Instant>>,
    flights: SingleFlight<(LogKey, i64, i64), Result<Chunk, CommandError>>,
    metrics: DecodeMetrics,
}

/// A log and its version, as in [`ClusterLogs::insert`].
pub(crate) type LogVersion = (LogKey, i64);

/// A schema that was looked up, or why there is none.
type LookedUp = Result<Arc<Known>, String>;

/// Schemas that were looked up for a read.
type Found = HashMap<SchemaId, LookedUp>;

impl Decoding {
    /// Keeps decoded records in `logs`.
    pub(crate) fn new(schemas: Schemas, logs: ClusterLogs, metrics: DecodeMetrics) -> Self {
        let (at_once, silent_until, flights) = (Mutex::default(), Mutex::default(), SingleFlight::default());
        Self { schemas, logs, at_once, silent_until, flights, metrics }
    }

    /// The schemas of the cluster.
    pub(crate) fn schemas(&self) -> &Schemas {
        &self.schemas
    }

    /// A client of the cluster.
    pub(crate) fn holder(&self, source: ClientKey) -> Holder {
        Holder { cluster: std::ptr::from_ref(self).addr(), source }
    }

    /// Drops the records of a log that were decoded before.
    pub(crate) fn forget(&self, topic: &str, partition: i32) {
        self.logs.forget(topic, partition);
    }

    /// Drops the decoded records of a log which has none at `offset`, if it is known to have had some: it is another one.
    pub(crate) fn invalidate(&self, (log, _): &LogVersion, offset: i64) {
        self.logs.invalidate(log, offset);
    }

    /// Records that were decoded before, or that `read` has, if they are few and their schemas are known.
    pub(crate) fn recent(
        &self,
        log: &LogVersion,
        fetch: Fetch,
        read: impl Fn(Fetch) -> Option<Chunk>,
    ) -> Option<Chunk> {
        if let Some(kept) = self.kept(log, fetch) {
            return Some(kept);
        }
        let raw = read(Fetch { decode: false, ..fetch })?;
        if raw.messages.len() > AT_ONCE {
            // More of them are decoded at a time: deliveries are large, and need no copies.
            return None;
        }
        let _turn = self.at_once.lock();
        if let Some(kept) = self.kept(log, fetch) {
            return Some(kept);
        }
        let mut decoded = Decoded::new(raw, &self.metrics);
        // Records before the first unknown schema are given. A failure is not worth a look-up here.
        let turn = Turn { max_bytes: MAX_AT_ONCE, max_record: AT_ONCE, time: AT_ONCE_TIME };
        let _ = decoded.advance(&self.schemas.registry, &Found::new(), turn);
        let chunk = decoded.chunk;
        if chunk.count == 0 {
            return None;
        }
        self.keep(log, &chunk);
        Some(assemble(&[chunk], fetch.offset, fetch.size(), first_entry))
    }

    /// Enough records that were decoded before to answer a fetch.
    pub(crate) fn enough(&self, log: &LogVersion, fetch: Fetch) -> Option<Chunk> {
        let has_all = |kept: &Chunk| {
            kept.messages.len() >= fetch.max_bytes / 2
                || fetch.max_records > 0 && kept.count >= fetch.max_records
        };
        self.kept(log, fetch).filter(has_all)
    }

    fn kept(&self, (log, version): &LogVersion, fetch: Fetch) -> Option<Chunk> {
        self.logs.read(log, *version, fetch.offset, fetch.size(), first_entry, Instant::now().into())
    }

    fn keep(&self, (log, version): &LogVersion, chunk: &Chunk) {
        let now = Instant::now().into();
        let _ = self.logs.insert_parts(log, *version, chunk.clone(), PART, first_entry, now);
    }

    /// Decodes what a fetch has read. `log` is None if its records may be of several versions of it: they are not kept.
    ///
    /// # Errors
    /// The registry does not answer, and no record is before the first one that needs it.
    ///
    /// # Cancel safety
    /// A drop leaves decoding to others who want the same.
    pub(crate) async fn decode(
        &self,
        log: Option<&LogVersion>,
        raw: Chunk,
        fetch: Fetch,
        scans: &ClusterRate,
    ) -> Result<Chunk, CommandError> {
        if raw.count == 0 {
            return Ok(raw);
        }
        // A fetch that has waited for them leaves out a range before them that has none.
        let raw = Chunk { base: fetch.offset, ..raw };
        let mut size = fetch.size();
        if !fetch.wait.is_zero() && raw.messages.len() <= WAITING_BYTES {
            // The fetch may have waited, with little memory.
            size.bytes = size.bytes.min(WAITING_BYTES);
        }
        let decoded = match log {
            None => {
                scans.take(fetch.source, work(raw.messages.len())).await;
                self.run(raw, fetch, size.bytes).await?.chunk
            }
            Some(log @ (key, version)) => {
                let is_enough = |kept: &Chunk| {
                    kept.next_offset >= raw.next_offset || kept.messages.len() >= fetch.max_bytes / 2
                };
                let known = || Some(Ok(self.kept(log, fetch).filter(is_enough)?));
                let worked = AtomicUsize::new(0);
                let decode = || async {
                    worked.store(raw.messages.len(), Ordering::Relaxed);
                    let decoded = self.run(raw.clone(), fetch, size.bytes.max(MANY)).await?;
                    worked.fetch_sub(decoded.rest.len(), Ordering::Relaxed);
                    if !decoded.is_provisional {
                        self.keep(log, &decoded.chunk);
                    }
                    Ok(decoded.chunk)
                };
                let flight = (key.clone(), *version, fetch.offset);
                let decoded = self.flights.run(flight, |_| false, known, decode).await;
                let worked = worked.into_inner();
                if worked > 0 {
                    // Afterwards: others, who wait for the same records, are not charged.
                    scans.take(fetch.source, work(worked)).await;
                }
                decoded?
            }
        };
        Ok(assemble(&[decoded], fetch.offset, size, first_entry))
    }

    /// Decodes records of so many bytes, and looks up schemas that are not known.
    async fn run(&self, raw: Chunk, fetch: Fetch, max_bytes: usize) -> Result<Decoded, CommandError> {
        let holder = self.holder(fetch.source);
        let now = Instant::now();
        let after = |time| now.checked_add(time).unwrap_or(now);
        let (until, mut latest) = (after(PATIENCE), after(SILENCE));
        if self.schemas.gives_bytes && self.silent_until.lock().is_some_and(|until| now < until) {
            latest = now;
        }
        let (mut decoded, mut found) = (Decoded::new(raw, &self.metrics), Found::new());
        loop {
            let needed;
            (decoded, found, needed) = self.advance(decoded, found, holder, max_bytes).await;
            let Some(id) = needed else {
                let is_over = decoded.rest.is_empty() || decoded.chunk.messages.len() >= max_bytes;
                if is_over || Instant::now() >= until {
                    return Ok(decoded);
                }
                yield_now().await;
                continue;
            };
            let look_up = self.schemas.registry.schema(holder, id);
            // Where records wait, the next fetch waits for the schemas of those behind the first.
            let waits = self.schemas.gives_bytes || decoded.chunk.count == 0;
            let known = timeout_at(if waits { latest } else { until }, look_up).await;
            if known.is_err() && !waits {
                return Ok(decoded);
            }
            if known.is_err() && latest > now {
                *self.silent_until.lock() = Instant::now().checked_add(SILENT);
            }
            // The look-up goes on.
            let known = known.unwrap_or(Err(Missing::Unanswered(Silence::NoAnswer)));
            let known = match known {
                Ok(known) => Ok(known),
                Err(Missing::Unknown(reason) | Missing::Refused(reason)) => Err(reason),
                Err(Missing::Unanswered(why)) if self.schemas.gives_bytes => {
                    decoded.is_provisional = true;
                    Err(why.to_string())
                }
                Err(Missing::Unanswered(_)) if decoded.chunk.count > 0 => return Ok(decoded),
                Err(Missing::Unanswered(why)) => {
                    return Err(CommandError::new(Fault::Transient, 0, why.to_string()).with_retry());
                }
            };
            found.insert(id, known);
        }
    }

    /// Decodes as far as schemas are known, in turns: small records here, and large ones on a thread for such work.
    async fn advance(
        &self,
        mut decoded: Decoded,
        found: Found,
        holder: Holder,
        max_bytes: usize,
    ) -> (Decoded, Found, Option<SchemaId>) {
        let registry = Arc::clone(&self.schemas.registry);
        if decoded.begins_with_at_most(AT_ONCE) {
            // In the time in which threads change twice, hundreds of records are decoded.
            let is_little = decoded.rest.len() <= AT_ONCE;
            let _place = if is_little { None } else { Some(self.schemas.places.acquire(holder).await) };
            let turn = Turn { max_bytes, max_record: AT_ONCE, time: AT_ONCE_TIME };
            let needed = decoded.advance(&registry, &found, turn);
            return (decoded, found, needed);
        }
        let decode = move || {
            let turn = Turn { max_bytes, max_record: usize::MAX, time: TURN };
            let needed = decoded.advance(&registry, &found, turn);
            (decoded, found, needed)
        };
        self.schemas.run(holder, decode).await
    }
}

/// The work to decode so many bytes of records, in bytes that are scanned.
fn work(decoded: usize) -> usize {
    decoded / DECODED_PER_SCANNED
}

/// Records that are being decoded.
struct Decoded {
    /// Records that are decoded.
    chunk: Chunk,
    /// Encoded, those that are not.
    rest: Bytes,
    /// The end of all of them.
    end: i64,
    /// Whether some are as they are stored only because the registry does not answer now.
    is_provisional: bool,
    metrics: DecodeMetrics,
}

/// The bounds of decoding without a pause. One record is decoded in any case.
struct Turn {
    /// Bytes of all that are decoded.
    max_bytes: usize,
    /// Bytes of a record before it is decoded.
    max_record: usize,
    time: Duration,
}

impl Decoded {
    fn new(raw: Chunk, metrics: &DecodeMetrics) -> Self {
        let Chunk { messages, next_offset, .. } = raw;
        let chunk = Chunk { messages: Bytes::new(), count: 0, next_offset: raw.base, ..raw };
        Self { chunk, rest: messages, end: next_offset, is_provisional: false, metrics: metrics.clone() }
    }

    /// Whether the next record has so many bytes at most.
    fn begins_with_at_most(&self, bytes: usize) -> bool {
        first_entry(&self.rest).is_none_or(|entry| entry.len <= bytes)
    }

    /// Decodes until a schema is needed that is neither `found` nor known to the registry, which is given, or until the
    /// turn is over: values that fail have no bytes, but take time.
    fn advance(&mut self, registry: &Registry, found: &Found, turn: Turn) -> Option<SchemaId> {
        let Turn { max_bytes, max_record, time } = turn;
        let began = std::time::Instant::now();
        let mut out = Vec::from(std::mem::take(&mut self.chunk.messages));
        out.reserve(max_bytes.min(self.rest.len().saturating_mul(2)).saturating_sub(out.len()));
        // The registry's cache has a lock, and most records have the schema of the one before.
        let last: RefCell<Option<(SchemaId, LookedUp)>> = RefCell::default();
        let look_up = |id| match found.get(&id) {
            Some(known) => Some(known.clone()),
            None => match registry.cached(id)? {
                Ok(known) => Some(Ok(known)),
                Err(Missing::Unknown(reason) | Missing::Refused(reason)) => Some(Err(reason)),
                Err(Missing::Unanswered(_)) => None,
            },
        };
        let known = |id| {
            if let Some((last, known)) = &*last.borrow()
                && *last == id
            {
                return Some(known.clone());
            }
            let known = look_up(id)?;
            last.replace(Some((id, known.clone())));
            Some(known)
        };
        let (mut needed, mut converter, mut unclocked, mut is_first) =
            (None, Converter::default(), 0_usize, true);
        // Cannot fail: the bytes are our own encoding.
        while let Some((entry, len)) = Entry::first(&self.rest) {
            let is_over =
                || out.len() >= max_bytes || len > max_record || unclocked >= TICK && began.elapsed() >= time;
            if !std::mem::take(&mut is_first) && is_over() {
                break;
            }
            unclocked =
                if unclocked >= TICK { 0 } else { unclocked.saturating_add(len).saturating_add(TICK / 32) };
            match converter.convert(&entry, known, &mut out) {
                Ok(is_decoded) => {
                    if !is_decoded {
                        self.metrics.failed();
                    }
                }
                Err(id) => {
                    needed = Some(id);
                    break;
                }
            }
            self.chunk.next_offset = entry.offset.saturating_add(1);
            self.chunk.count = self.chunk.count.saturating_add(1);
            self.rest.advance(len);
        }
        if self.rest.is_empty() {
            self.chunk.next_offset = self.end;
        }
        self.chunk.messages = Bytes::from(out);
        needed
    }
}

/// Records of so many bytes, each or all together, are decoded at once, as far as they take so long, or have so many bytes
/// of JSON.
const AT_ONCE: usize = 16 * 1024;
const MAX_AT_ONCE: usize = 256 * 1024;
const AT_ONCE_TIME: Duration = Duration::from_millis(1);

/// The time of one turn on a thread for large records.
const TURN: Duration = Duration::from_millis(5);

/// The clock is asked after so many bytes of records, each of which counts a thirty-second of them besides its own.
const TICK: usize = 8 * 1024;

/// The parts in which decoded records are kept, in bytes: those of a delivery, so that they are shared.
const PART: usize = 64 * 1024;

/// Bytes that are decoded for the cost of one that is scanned and left out.
pub(crate) const DECODED_PER_SCANNED: usize = 4;

/// The time for which records wait for those behind them: for their schemas, or their turns.
const PATIENCE: Duration = Duration::from_millis(250);

/// The time for which a read waits for a registry: then its client is told, or gets bytes, as it is configured. Less
/// than a client waits before it is told that there is no answer.
const SILENCE: Duration = Duration::from_secs(1);

/// The time for which a registry that was silent is not waited for again, where records come as they are stored.
const SILENT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
