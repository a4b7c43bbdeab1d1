//! Requests records, and keeps them for other readers of the log.

use std::time::Duration;

use kafka_protocol::error::ResponseError;
use sluicegate_shared_log::{AnswerSize, Chunk, Fetched, assemble};
use tokio::time::{Instant, timeout_at};

use super::{FetchKey, Inner, ReadLog, Reader};
use crate::broker_failures::BrokerFailures;
use crate::clock::in_future;
use crate::entries::{first_entry, max_expensive, max_kept};
use crate::fetch_call::fetch_call;
use crate::fetch_plan::FetchPlan;
use crate::read_error::ReadError;

impl Reader {
    /// Reads what there is: records that were read before, or else by requests that were sent after this call began.
    ///
    /// After each part of the log that is skipped, the call waits for its client's turn. Others who want the same do
    /// not wait for it.
    pub(super) async fn read_through(
        &self,
        log: ReadLog<'_>,
        offset: i64,
        size: AnswerSize,
    ) -> Result<Chunk, ReadError> {
        let Inner { brokers, fetches, .. } = &*self.inner;
        let known = || self.kept(log, offset, size).map(|chunk| Ok(Some(chunk)));
        let near = |other: &FetchKey| other.is_of(log) && offset.saturating_sub(other.offset) < NEAR;
        let (turn_ends, deadline) = (in_future(MAX_TURN), in_future(brokers.config().request_timeout));
        let mut plan = None;
        loop {
            let read = fetches.run(FetchKey::new(log, offset), near, known, || {
                self.request(log, offset, size.bytes, &mut plan)
            });
            let read = timeout_at(deadline, read).await;
            // Of requests that this call has sent. Those of others are counted to them.
            let skipped = plan.as_mut().map_or(0, FetchPlan::take_skipped);
            let may_go_on =
                skipped == 0 || timeout_at(turn_ends, log.skips.skipped(log.source, skipped)).await.is_ok();
            match read {
                // It can be more than this call wants.
                Ok(Ok(Some(read))) if read.count > 0 => {
                    return Ok(assemble(&[read], offset, size, first_entry));
                }
                Ok(Ok(Some(nothing))) => return Ok(nothing),
                Ok(Err(error)) => return Err(error),
                Ok(Ok(None)) if may_go_on => {}
                Ok(Ok(None)) | Err(_) => {
                    let so_far = plan.as_ref().and_then(FetchPlan::so_far);
                    let so_far =
                        so_far.unwrap_or_else(|| Err(brokers.unreachable(BrokerFailures::default())));
                    return so_far.map(|fetched| chunk(offset, fetched));
                }
            }
        }
    }

    /// Requests the records from an offset on, and keeps what came; `None` if a part of the log was skipped. `plan` is
    /// that of the same call before.
    pub(super) async fn request<'a>(
        &'a self,
        log: ReadLog<'a>,
        offset: i64,
        max_bytes: usize,
        plan: &mut Option<FetchPlan<'a>>,
    ) -> Result<Option<Chunk>, ReadError> {
        let Inner { brokers, skip_caches, encoders, logs, .. } = &*self.inner;
        let config = brokers.config();
        // From when it is sent: others can share the request.
        let (now, deadline) = (Instant::now(), in_future(config.request_timeout));
        let asked = max_bytes.max(MIN_REQUEST);
        let plan = plan.get_or_insert_with(|| {
            logs.count_miss();
            // A broker answers with whole batches: what came is kept, so that no batch is fetched again for each part
            // of it.
            let limits = config.record_limits(asked.max(max_kept(logs)));
            let skip_cache = if log.committed { &skip_caches.committed } else { &skip_caches.all };
            FetchPlan::new(skip_cache, log.target, offset, (asked, limits, max_expensive(logs)), now)
        });
        plan.catch_up(now);
        let read = fetch_call(brokers, (logs, encoders), plan, (log.committed, log.source), deadline).await;
        if let Err(ReadError::Broker { code, .. }) = &read
            && code.0 == ResponseError::OffsetOutOfRange
            && let Some(version) = self.version_of(log)
        {
            logs.invalidate(&log.key(version), offset);
        }
        let Some(fetched) = read? else { return Ok(None) };
        let chunk = chunk(offset, fetched);
        let Some(version) = plan.version() else { return Ok(Some(chunk)) };
        let (key, epoch, now) = (log.key(version), version.leader_epoch.into(), Instant::now().into());
        Ok(Some(logs.insert_parts(&key, epoch, chunk, asked, first_entry, now)))
    }
}

fn chunk(base: i64, Fetched { messages, count, next_offset, ends }: Fetched) -> Chunk {
    Chunk { base, next: next_offset, entries: messages, count, ends }
}

/// The least that a request for records asks for, in bytes: others can want what follows.
pub(super) const MIN_REQUEST: usize = 64 * 1024;

/// The range that a request in flight probably reads.
const NEAR: i64 = 256;

/// When a call that skips no longer waits for its client's turn: its caller learns how far it came.
const MAX_TURN: Duration = Duration::from_secs(1);
