//! Requests records, and keeps them for other readers of the log.

use std::fmt;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use kafka_protocol::error::ResponseError;
use sluicegate_fair_share::ClientKey;
use sluicegate_shared_log::{AnswerSize, Chunk, RawReads, assemble};
use tokio::time::{Instant, timeout_at};

use super::{FetchKey, Inner, LogReads};
use crate::backoff::in_future;
use crate::broker_failures::BrokerFailures;
use crate::encoder_pool::{first_entry, max_expensive, max_kept};
use crate::fetch_call::fetch_call;
use crate::fetch_plan::FetchPlan;
use crate::read_error::ReadError;

/// Counts the bytes that fetches skip to the clients that cause them, so that a client which skips without pause waits
/// for its own turn. `()` counts nothing.
pub trait SkipMeter: fmt::Debug + Send + Sync {
    /// Counts so many bytes to this client. Ready when it may read on: no request of the fetch is in flight until then.
    ///
    /// A fetch drops the wait after a second, and ends without records.
    fn skipped(&self, source: ClientKey, bytes: usize) -> BoxFuture<'_, ()>;
}

impl SkipMeter for () {
    fn skipped(&self, _: ClientKey, _: usize) -> BoxFuture<'_, ()> {
        ready(()).boxed()
    }
}

impl LogReads<'_> {
    /// Records that were read before, or else read by requests that were sent after this call began.
    ///
    /// After each part of the log that is skipped, the call waits for its client's turn. Others who want the same do
    /// not wait for it.
    pub(super) async fn kept_or_requested(&self, offset: i64, size: AnswerSize) -> Result<Chunk, ReadError> {
        let Inner { brokers, fetches, .. } = &*self.reader.inner;
        let known = || self.kept(offset, size).map(|chunk| Ok(Some(chunk)));
        let key = self.fetch_key(offset);
        let near = |(log, from): &FetchKey| *log == key.0 && offset.saturating_sub(*from) < NEAR;
        let (turn_ends, deadline) = (in_future(MAX_TURN), in_future(brokers.config().request_timeout));
        let mut plan = None;
        loop {
            let read = fetches.run(key.clone(), near, known, || self.request(offset, size.bytes, &mut plan));
            let read = timeout_at(deadline, read).await;
            // Of requests that this call has sent. Those of others are counted to them.
            let skipped = plan.as_mut().map_or(0, FetchPlan::take_skipped);
            let may_go_on =
                skipped == 0 || timeout_at(turn_ends, self.skips.skipped(self.source, skipped)).await.is_ok();
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
                    return so_far.unwrap_or_else(|| Err(brokers.unreachable(BrokerFailures::default())));
                }
            }
        }
    }

    /// Requests the records from an offset on, and keeps what came; `None` if a part of the log was skipped. `plan` is
    /// that of the same call before.
    pub(super) async fn request<'a>(
        &'a self,
        offset: i64,
        max_bytes: usize,
        plan: &mut Option<FetchPlan<'a>>,
    ) -> Result<Option<Chunk>, ReadError> {
        let Self { reader, target, committed, source, .. } = *self;
        let Inner { brokers, skip_caches, encoders, logs, .. } = &*reader.inner;
        let config = brokers.config();
        // From when it is sent: others can share the request.
        let (now, deadline) = (Instant::now(), in_future(config.request_timeout));
        let asked = max_bytes.max(MIN_REQUEST);
        let plan = plan.get_or_insert_with(|| {
            logs.count_miss();
            // A broker answers with whole batches: what came is kept, so that no batch is fetched again for each part
            // of it.
            let limits = config.record_limits(asked.max(max_kept(logs)));
            let skip_cache = if committed { &skip_caches.committed } else { &skip_caches.all };
            FetchPlan::new(skip_cache, target, offset, (asked, limits, max_expensive(logs)), now)
        });
        plan.catch_up(now);
        let read = fetch_call(brokers, (logs, encoders), plan, (committed, source), deadline).await;
        if let Err(ReadError::Broker { code, .. }) = &read
            && code.0 == ResponseError::OffsetOutOfRange
            && let Some(version) = self.version()
        {
            logs.invalidate(&self.key(version).0, offset);
        }
        let Some(chunk) = read? else { return Ok(None) };
        let Some(version) = plan.version() else { return Ok(Some(chunk)) };
        let ((key, version), now) = (self.key(version), Instant::now().into());
        Ok(Some(logs.insert_parts(&key, version, chunk, asked, first_entry, now)))
    }

    pub(super) fn fetch_key(&self, offset: i64) -> FetchKey {
        (self.target.key(None, self.committed), offset)
    }
}

/// The least that a request for records asks for, in bytes: others can want what follows.
pub(super) const MIN_REQUEST: usize = 64 * 1024;

/// The range that a request in flight probably reads.
const NEAR: i64 = 256;

/// When a call that skips no longer waits for its client's turn: its caller learns how far it came.
const MAX_TURN: Duration = Duration::from_secs(1);
