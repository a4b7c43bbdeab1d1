//! A fetch that returns at once, or waits at the log end with little memory.

use std::time::Duration;

use sluicegate_reader::{ReadError, Reader};

use crate::backend::{AnswerReservation, Fetch, Fetched, Log, WAITING_BYTES};

/// Reads at once. At the log end it waits with room for [`WAITING_BYTES`], since little arrives there at a time.
///
/// A larger answer is dropped and read again with its whole room reserved: a client that never reads must not hold
/// unreserved memory. Without that room, the answer is empty.
pub(super) async fn fetch(
    reader: &Reader,
    log: Log<'_>,
    fetch: Fetch,
    reservation: &mut dyn AnswerReservation,
) -> Result<Fetched, ReadError> {
    let Log { topic, partition } = log;
    let Fetch { offset, max_bytes, wait, min_bytes, max_records, committed } = fetch;
    let look = sluicegate_reader::Fetch {
        topic,
        partition,
        offset,
        max_bytes,
        max_wait: Duration::ZERO,
        min_bytes: 0,
        max_records,
        committed,
        at_end: None,
    };
    let looked = reader.fetch(look).await?;
    if looked.count > 0 && looked.messages.len() >= min_bytes.min(max_bytes) || wait.is_zero() {
        return Ok(fetched(looked));
    }
    let is_empty = looked.count == 0;
    let look =
        sluicegate_reader::Fetch { offset: if is_empty { looked.next_offset } else { offset }, ..look };
    let wait = sluicegate_reader::Fetch {
        max_bytes: max_bytes.min(WAITING_BYTES),
        max_wait: wait,
        min_bytes: min_bytes.min(WAITING_BYTES),
        at_end: is_empty.then_some(looked.ends),
        ..look
    };
    let waited = tokio::select! {
        // Polled first: it makes room for others.
        biased;
        () = reservation.wait(WAITING_BYTES) => return Ok(fetched(looked)),
        waited = reader.fetch(wait) => waited?,
    };
    if waited.messages.len() <= WAITING_BYTES {
        return Ok(fetched(waited));
    }
    drop(waited);
    if reservation.refill().await { reader.fetch(look).await.map(fetched) } else { Ok(fetched(looked)) }
}

fn fetched(fetched: sluicegate_reader::Fetched) -> Fetched {
    let sluicegate_reader::Fetched { messages, count, next_offset, ends } = fetched;
    Fetched { messages, count, next_offset, ends }
}
