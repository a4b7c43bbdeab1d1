//! A scripted messaging system for tests.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use prost::Message;
use sluicegate_protocol::{KafkaFetchResp, KafkaMessage, ProduceRecord};
use sluicegate_shared_log::Ends;
use sluicegate_ws_session::source::Source;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{Cluster, MAX_RECORDS, Reads, Writes};
use crate::backend::{
    AnswerReservation, Backend, CommandError, Fault, Fetch, Fetched, HandedOver, Log, Partition, Written,
};
use crate::metrics::Metrics;

/// A topic's name is the time in milliseconds that a fetch or look-up takes. A partition's number is the size in bytes
/// of the fetched value.
#[derive(Debug, Default)]
pub(crate) struct Script {
    taken: Mutex<Vec<Bytes>>,
    refusal: Mutex<Option<CommandError>>,
    acknowledges_in: Mutex<Duration>,
}

impl Script {
    /// A cluster whose answers have at most `max_bytes`.
    pub(crate) fn cluster(max_bytes: usize) -> (Arc<Cluster>, Arc<Script>) {
        let script = Arc::new(Self::default());
        let reads = Reads { max_bytes, wait: Duration::ZERO };
        let writes = Some(Writes { max_records: MAX_RECORDS, due: CancellationToken::new() });
        let metrics = Metrics::new().cluster("script");
        let backend = Box::new(Arc::clone(&script));
        (Arc::new(Cluster::new(backend, reads, writes, metrics)), script)
    }

    /// The values written, in order.
    pub(crate) fn taken(&self) -> Vec<Bytes> {
        self.taken.lock().unwrap().clone()
    }

    /// Refuses every record from now on.
    pub(crate) fn refuse(&self, error: CommandError) {
        *self.refusal.lock().unwrap() = Some(error);
    }

    /// Acknowledges records after this time.
    pub(crate) fn acknowledge_in(&self, time: Duration) {
        *self.acknowledges_in.lock().unwrap() = time;
    }
}

impl Backend for Arc<Script> {
    fn is_ready(&self, _: Duration) -> BoxFuture<'_, bool> {
        ready(true).boxed()
    }

    fn fetch<'a>(
        &'a self,
        log: Log<'a>,
        _: Fetch,
        _: &'a mut dyn AnswerReservation,
    ) -> BoxFuture<'a, Result<Fetched, CommandError>> {
        async move {
            self.check_log(log).await?;
            let value = Some(vec![0; usize::try_from(log.partition).unwrap()].into());
            let message = KafkaMessage { value, ..Default::default() };
            let messages = KafkaFetchResp { messages: vec![message], next_offset: 0, ..Default::default() }
                .encode_to_vec()
                .into();
            Ok(Fetched { messages, count: 1, next_offset: 0, ends: Ends::UNKNOWN })
        }
        .boxed()
    }

    fn list_offset<'a>(&'a self, _: Log<'a>, timestamp: i64) -> BoxFuture<'a, Result<i64, CommandError>> {
        ready(Ok(timestamp)).boxed()
    }

    fn topics(&self) -> BoxFuture<'_, Result<Arc<[String]>, CommandError>> {
        ready(Ok(Arc::default())).boxed()
    }

    fn partitions<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Vec<Partition>, CommandError>> {
        ready(Ok(Vec::new())).boxed()
    }

    fn check_log<'a>(&'a self, log: Log<'a>) -> BoxFuture<'a, Result<(), CommandError>> {
        async move {
            let Ok(millis) = log.topic.parse() else {
                return Err(CommandError::new(Fault::Invalid, 17, "expected milliseconds as the topic"));
            };
            sleep(Duration::from_millis(millis)).await;
            Ok(())
        }
        .boxed()
    }

    fn prepare_writes(&self) -> BoxFuture<'_, ()> {
        ready(()).boxed()
    }

    fn hand_over<'a>(
        &'a self,
        _: Source,
        records: Vec<ProduceRecord>,
        errors: Vec<Option<CommandError>>,
        _: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<HandedOver<'a>, CommandError>> {
        let refusal = self.refusal.lock().unwrap().clone();
        let mut taken = self.taken.lock().unwrap();
        let mut reports = Vec::new();
        for (record, error) in records.into_iter().zip(errors) {
            let offset = i64::try_from(taken.len()).unwrap();
            reports.push(match error.or_else(|| refusal.clone()) {
                Some(error) => Err(error),
                None => {
                    taken.push(record.value.unwrap_or_default());
                    Ok(Written { partition: 0, offset, timestamp: 0 })
                }
            });
        }
        let queued = reports.iter().filter(|report| report.is_ok()).count();
        let time = *self.acknowledges_in.lock().unwrap();
        ready(Ok(HandedOver { queued, reports: sleep(time).map(|()| reports).boxed() })).boxed()
    }

    fn has_queued_records(&self) -> bool {
        false
    }

    fn end_writes(&self, _: Instant) -> BoxFuture<'_, ()> {
        ready(()).boxed()
    }
}

/// Never waits.
impl AnswerReservation for () {
    fn wait(&mut self) -> BoxFuture<'_, ()> {
        ready(()).boxed()
    }

    fn refill(&mut self) -> BoxFuture<'_, bool> {
        ready(true).boxed()
    }
}
