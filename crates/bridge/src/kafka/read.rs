//! A fetch that returns at once, or waits at the log end with little memory.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sluicegate_fair_share::Source;
use sluicegate_reader::{ReadError, Reader, SkipMeter};

use crate::backend::{AnswerReservation, Fetch, Fetched, Log, WAITING_BYTES};
use crate::rate::ClusterRate;

/// Reads at once, unless others wait at this offset already. At the log end it waits with room for [`WAITING_BYTES`], since little arrives there at a time.
///
/// A larger answer is dropped and read again with its whole room reserved: a client that never reads must not hold
/// unreserved memory. Without that room, the answer is empty.
pub(super) async fn fetch(
    reader: &Reader,
    log: Log<'_>,
    fetch: Fetch,
    scans: &ClusterRate,
    reservation: &mut dyn AnswerReservation,
) -> Result<Fetched, ReadError> {
    let Log { topic, partition } = log;
    let Fetch { offset, max_bytes, wait, min_bytes, committed, .. } = fetch;
    let look = now(log, fetch, scans);
    let is_watched = !wait.is_zero() && reader.is_watched(topic, partition, offset, committed);
    let looked = if is_watched { None } else { Some(reader.fetch(look).await?) };
    let is_enough = |looked: &sluicegate_reader::Fetched| {
        wait.is_zero() || looked.count > 0 && looked.messages.len() >= min_bytes.min(max_bytes)
    };
    if let Some(looked) = looked.as_ref().filter(|looked| is_enough(looked)) {
        return Ok(fetched(looked.clone()));
    }
    let end = looked.as_ref().filter(|looked| looked.count == 0);
    let look = sluicegate_reader::Fetch { offset: end.map_or(offset, |end| end.next_offset), ..look };
    let wait = sluicegate_reader::Fetch {
        max_bytes: max_bytes.min(WAITING_BYTES),
        max_wait: wait,
        min_bytes: min_bytes.min(WAITING_BYTES),
        at_end: end.map(|end| end.ends),
        fill: false,
        ..look
    };
    let waited = tokio::select! {
        // Polled first: it makes room for others.
        biased;
        () = reservation.wait(WAITING_BYTES) => match &looked {
            Some(looked) => looked.clone(),
            None => reader.fetch(sluicegate_reader::Fetch { max_wait: Duration::ZERO, ..wait }).await?,
        },
        waited = reader.fetch(wait) => waited?,
    };
    if waited.messages.len() <= WAITING_BYTES {
        return Ok(fetched(waited));
    }
    let ends = waited.ends;
    drop(waited);
    if reservation.refill().await {
        return reader.fetch(look).await.map(fetched);
    }
    Ok(looked.map_or_else(|| Fetched::nothing(look.offset, ends), fetched))
}

/// The same without the wait.
pub(super) fn now<'a>(
    Log { topic, partition }: Log<'a>,
    fetch: Fetch,
    skips: &'a dyn SkipMeter,
) -> sluicegate_reader::Fetch<'a> {
    let Fetch { offset, max_bytes, max_records, fill, committed, source, .. } = fetch;
    sluicegate_reader::Fetch {
        topic,
        partition,
        offset,
        max_bytes,
        max_wait: Duration::ZERO,
        min_bytes: 0,
        max_records,
        fill,
        committed,
        source,
        skips,
        at_end: None,
    }
}

pub(super) fn fetched(fetched: sluicegate_reader::Fetched) -> Fetched {
    let sluicegate_reader::Fetched { messages, count, next_offset, ends } = fetched;
    Fetched { messages, count, next_offset, ends }
}

impl SkipMeter for ClusterRate {
    fn skipped(&self, source: Source, bytes: usize) -> BoxFuture<'_, ()> {
        self.take(source, bytes).boxed()
    }
}
