//! Requests records, and keeps them for other readers of the log.

use kafka_protocol::error::ResponseError;
use sluicegate_shared_log::Chunk;
use tokio::time::Instant;

use super::{Inner, ReadLog, Reader, in_future};
use crate::entries::{first_entry, max_expensive, max_kept};
use crate::fetch::Fetched;
use crate::fetch_call::fetch_call;
use crate::fetch_plan::FetchPlan;
use crate::read_error::ReadError;

impl Reader {
    /// Requests the records from an offset on, and keeps what came.
    pub(super) async fn fill(
        &self,
        log: ReadLog<'_>,
        offset: i64,
        max_bytes: usize,
    ) -> Result<Chunk, ReadError> {
        let Inner { brokers, skip_caches, encoders, logs, .. } = &*self.inner;
        let config = brokers.config();
        logs.count_miss();
        // From when it is sent: others can share the request.
        let deadline = in_future(config.request_timeout);
        let asked = max_bytes.max(MIN_FILL);
        // A broker answers with whole batches: what came is kept, so that no batch is fetched again for each part of it.
        let limits = config.record_limits(asked.max(max_kept(logs)));
        let skip_cache = if log.committed { &skip_caches.committed } else { &skip_caches.all };
        let plan = FetchPlan::new(
            skip_cache,
            log.target,
            offset,
            (asked, limits, max_expensive(logs)),
            Instant::now(),
        );
        let read = fetch_call(brokers, (logs, encoders), plan, (log.committed, log.source), deadline).await;
        if let Err(ReadError::Broker { code, .. }) = &read
            && code.0 == ResponseError::OffsetOutOfRange
            && let Some(version) = self.version_of(log)
        {
            logs.refute(&log.key(version), offset);
        }
        let (Fetched { messages, count, next_offset, ends }, version) = read?;
        let chunk = Chunk { base: offset, next: next_offset, entries: messages, count, ends };
        let Some(version) = version else { return Ok(chunk) };
        let (key, epoch, now) = (log.key(version), version.leader_epoch.into(), Instant::now().into());
        Ok(logs.insert_parts(&key, epoch, chunk, asked, first_entry, now))
    }
}

/// The least that a request for records asks for, in bytes: others can want what follows.
const MIN_FILL: usize = 64 * 1024;
