//! NATS JetStream as a messaging system. No other crate of the bridge names async-nats.
//!
//! A stream is a topic with the one partition 0, a sequence is an offset, and a subject is a key. A read passes, in
//! order:
//! - here: [`Nats`], a cluster
//! - `read`: the calls; `shared_log::fetch` reads at once, or waits at the end of a stream
//! - `read_through`: kept messages, or a request that many callers share; `streams`: what is known of streams
//! - `tail`: waits at the ends of streams; one consumer per stream serves all that wait there
//! - `walk`: reads ahead of clients that read a stream in order; `consumer`: a consumer of our own
//! - `api`, `message`, `entries`: JetStream's API, what it gives, and how the shared log keeps it
//! - `connection`, `session`: one connection, and the answers that are expected on it; `wire`: what carries it
//! - `writer`: queues and publishes messages, on a connection of its own; `subject`: which subjects clients can write
//!   to
//! - `error`: errors for clients; causes that clients must not see are logged
//! - [`ClusterConfig`]: the settings

mod api;
mod cluster_config;
mod connection;
mod consumer;
mod entries;
mod error;
mod message;
mod read;
mod read_through;
mod session;
mod stream_name;
mod streams;
mod subject;
mod tail;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod walk;
mod wire;
mod writer;

use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

pub use async_nats::ServerAddr;
use futures_util::future::{BoxFuture, ready};
use futures_util::stream::{BoxStream, FuturesUnordered};
use futures_util::{FutureExt, StreamExt};
use parking_lot::Mutex;
use sluicegate_backend::command::Record;
use sluicegate_backend::rate::ClusterRate;
use sluicegate_backend::{
    Account, AnswerReservation, Backend, Chunk, CommandError, CommandFuture, Description, Enqueued, Fault,
    Fetch, ListedOffset, Log, Partition, System, Unready, Version,
};
use sluicegate_fair_share::ClientKey;
use sluicegate_shared_log::{ClusterLogs, Ends, SeenEnds};
use sluicegate_telemetry::metrics::{RequestMetrics, WriteMetrics};
use sluicegate_telemetry::traces;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use self::api::Api;
pub use self::cluster_config::{ClusterConfig, Credentials, Tls};
use self::connection::Connection;
use self::error::{Incidents, ReadError};
use self::read::Reader;
use self::stream_name::StreamName;
pub use self::wire::{AsyncNats, Dialer, Events, Wire};
use self::writer::{Own, Writer};

/// A NATS cluster.
pub struct Nats {
    reader: Reader,
    /// None if the cluster is read-only: writes have a connection of their own.
    writer: Option<Writer>,
    incidents: Arc<Incidents>,
    /// Streams whose leader did not answer when it was asked last.
    offline: Mutex<HashSet<String>>,
}

impl Nats {
    /// The cluster of this name in the log. It keeps what it has read in `logs`, and is read-only without metrics for
    /// `writes`. Nothing is sent yet.
    pub fn new(
        name: &str,
        config: &ClusterConfig,
        logs: ClusterLogs,
        requests: RequestMetrics,
        writes: Option<WriteMetrics>,
    ) -> Self {
        let dialer: Arc<dyn Dialer> = Arc::new(AsyncNats);
        Self::over(&dialer, name, config, logs, requests, writes)
    }

    /// The same over connections that `dialer` opens.
    pub fn over(
        dialer: &Arc<dyn Dialer>,
        name: &str,
        config: &ClusterConfig,
        logs: ClusterLogs,
        requests: RequestMetrics,
        writes: Option<WriteMetrics>,
    ) -> Self {
        let incidents = Arc::new(Incidents::new(name));
        let requests = requests.of(&api::APIS, &api::OUTCOMES);
        let api = || Api::new(Connection::new(config.clone(), Arc::clone(dialer), requests.clone()));
        let reader = Reader::new(api(), logs);
        let writer = writes.map(|metrics| Writer::new(api(), config, metrics, Arc::clone(&incidents)));
        Self { reader, writer, incidents, offline: Mutex::default() }
    }

    /// Notes whether the stream's leader has not answered.
    fn is_offline(&self, stream: &str, is_offline: bool) {
        let mut offline = self.offline.lock();
        if !is_offline {
            offline.remove(stream);
        } else if offline.len() < MAX_OFFLINE {
            offline.insert(stream.to_owned());
        }
    }

    /// Writes messages of a producer, or whose sequence ascends.
    async fn enqueue_in_order<'a>(
        &'a self,
        source: ClientKey,
        records: Vec<Record>,
        account: Option<Account>,
        ascends: bool,
        due: &'a CancellationToken,
    ) -> Result<Enqueued<'a>, CommandError> {
        let Some(writer) = &self.writer else { return Err(read_only()) };
        let span = traces::produce(System::Nats, records.len());
        let enqueued = writer.enqueue_once(source, &records, account.as_ref(), ascends).await?;
        let (queued, reports) = (enqueued.queued, writer.wait(enqueued, due));
        Ok(Enqueued { queued, reports: traces::reported(span, reports).boxed() })
    }

    fn failed(&self, log: Log<'_>, error: ReadError) -> CommandError {
        error.into_error_of(log.topic, &self.incidents)
    }
}

impl Backend for Nats {
    fn ready(&self, within: Duration) -> BoxFuture<'_, Result<String, Unready>> {
        async move {
            match timeout(within, self.reader.check()).await {
                Ok(Ok(version)) => Ok(format!("nats-server {version} with JetStream")),
                Ok(Err(error)) => {
                    self.incidents.not_ready(&error);
                    Err(Unready { key: error.key(), cause: error.to_string() })
                }
                Err(_) => Err(Unready { key: error::SERVERS, cause: self.incidents.silent(within) }),
            }
        }
        .boxed()
    }

    fn fetch<'a>(
        &'a self,
        log: Log<'a>,
        fetch: Fetch,
        _: &'a ClusterRate,
        reservation: &'a mut dyn AnswerReservation,
    ) -> CommandFuture<'a, Chunk> {
        async move {
            let fetched = async { self.reader.fetch(StreamName::of(log)?, fetch, reservation).await };
            fetched.await.map_err(|error| self.failed(log, error))
        }
        .boxed()
    }

    fn recent(&self, log: Log<'_>, fetch: Fetch) -> Option<Chunk> {
        self.reader.recent(StreamName::of(log).ok()?, fetch)
    }

    fn version(&self, log: Log<'_>) -> Version {
        let name = StreamName::of(log).ok();
        Version { topic_id: name.and_then(|name| self.reader.stream_id(name)), leader_epoch: None }
    }

    fn may_have_leader(&self, log: Log<'_>) -> bool {
        !self.offline.lock().contains(log.topic)
    }

    fn ask_version<'a>(&'a self, _: ClientKey, log: Log<'a>) -> CommandFuture<'a, Version> {
        async move {
            let asked = async { self.reader.ask_stream_id(StreamName::of(log)?).await };
            let topic_id = Some(asked.await.map_err(|error| self.failed(log, error))?);
            self.is_offline(log.topic, false);
            Ok(Version { topic_id, leader_epoch: None })
        }
        .boxed()
    }

    fn tombstone_life<'a>(&'a self, _: ClientKey, stream: &'a str) -> CommandFuture<'a, Option<Duration>> {
        async move {
            let log = Log { topic: stream, partition: 0 };
            let life = async { self.reader.shortest_life(StreamName::of(log)?).await };
            life.await.map_err(|error| self.failed(log, error))
        }
        .boxed()
    }

    fn forget(&self, log: Log<'_>) {
        self.reader.forget(log.topic);
    }

    fn known_end(&self, log: Log<'_>) -> Option<i64> {
        self.reader.known_end(StreamName::of(log).ok()?)
    }

    fn is_watched(&self, log: Log<'_>, offset: i64, _: bool) -> bool {
        StreamName::of(log).is_ok_and(|name| self.reader.is_watched(name, offset))
    }

    fn wait_for_records<'a>(
        &'a self,
        log: Log<'a>,
        offset: i64,
        _: bool,
        until: Option<Instant>,
        seen: SeenEnds,
    ) -> BoxFuture<'a, Option<Ends>> {
        // Streams have no transactions, and do not tell when they begin later.
        let look = (seen.start < i64::MAX).then(|| Instant::now().checked_add(LOOK)).flatten();
        let until = until.into_iter().chain(look).min();
        async move { self.reader.wait_for_records(StreamName::of(log).ok()?, offset, until).await }.boxed()
    }

    fn list_offsets<'a>(
        &'a self,
        _: ClientKey,
        asked: &'a [(Log<'a>, i64)],
        _: bool,
    ) -> BoxStream<'a, (usize, Result<ListedOffset, CommandError>)> {
        let list = |(number, (log, timestamp)): (usize, &'a (Log<'a>, i64))| async move {
            let listed = async { self.reader.list_offset(StreamName::of(*log)?, *timestamp).await };
            (number, listed.await.map_err(|error| self.failed(*log, error)))
        };
        let listed: FuturesUnordered<_> = asked.iter().enumerate().map(list).collect();
        listed.boxed()
    }

    fn topics(&self) -> CommandFuture<'_, Arc<[String]>> {
        let names = self.reader.stream_names();
        names.map(|names| names.map_err(|error| error.into_command_error(&self.incidents))).boxed()
    }

    fn known_partitions(&self, _: &str) -> usize {
        1
    }

    fn partitions<'a>(&'a self, _: ClientKey, topic: &'a str) -> CommandFuture<'a, Arc<Description>> {
        async move {
            let log = Log::of_stream(topic);
            let asked = async { self.reader.ask_stream_id(StreamName::of(log)?).await };
            let mut asked = pin!(asked);
            let asked = match timeout(PATIENCE, &mut asked).await {
                Err(_) if self.reader.is_connected() => None,
                Err(_) => Some(asked.await),
                Ok(asked) => Some(asked),
            };
            match asked {
                Some(Err(error)) if !error.is_of_offline_stream() => return Err(self.failed(log, error)),
                Some(Ok(_)) => self.is_offline(topic, false),
                // A stream that is offline has its partition: its reads tell. Others of a command need not wait.
                Some(Err(_)) | None => self.is_offline(topic, true),
            }
            // Servers have names and no numbers.
            let partition = Partition { partition: 0, leader: None, replicas: Vec::new() };
            Ok(Arc::new(Description::new(None, vec![partition])))
        }
        .boxed()
    }

    fn check_log<'a>(&'a self, _: ClientKey, log: Log<'a>) -> CommandFuture<'a, ()> {
        async move {
            let checked = async {
                let name = StreamName::of(log)?;
                // So that what disturbs readers does not disturb writers.
                match &self.writer {
                    Some(writer) => writer.check_stream(name).await,
                    None => self.reader.ask_stream_id(name).await.map(drop),
                }
            };
            checked.await.map_err(|error| self.failed(log, error))
        }
        .boxed()
    }

    fn prepare_writes(&self) -> BoxFuture<'_, ()> {
        match &self.writer {
            Some(writer) => writer.prepare().boxed(),
            None => ready(()).boxed(),
        }
    }

    fn enqueue<'a>(
        &'a self,
        source: ClientKey,
        records: Vec<Record>,
        errors: Vec<Option<CommandError>>,
        due: &'a CancellationToken,
    ) -> CommandFuture<'a, Enqueued<'a>> {
        async move {
            let Some(writer) = &self.writer else { return Err(read_only()) };
            let span = traces::produce(System::Nats, records.len());
            let enqueued = writer.enqueue(source, &records, errors).await?;
            let (queued, reports) = (enqueued.queued, writer.wait(enqueued, due));
            Ok(Enqueued { queued, reports: traces::reported(span, reports).boxed() })
        }
        .boxed()
    }

    fn place<'a>(
        &'a self,
        _: ClientKey,
        records: &'a mut [Record],
        errors: &'a mut [Option<CommandError>],
        producer: Option<i64>,
    ) -> BoxFuture<'a, ()> {
        async move {
            if let Some(writer) = &self.writer {
                let own = Own { producer: producer.is_some(), ..Own::default() };
                writer.check(records, errors, own).await;
            }
            records.iter_mut().for_each(|record| record.partition = Some(0));
        }
        .boxed()
    }

    fn enqueue_once<'a>(
        &'a self,
        source: ClientKey,
        records: Vec<Record>,
        account: Account,
        due: &'a CancellationToken,
    ) -> CommandFuture<'a, Enqueued<'a>> {
        self.enqueue_in_order(source, records, Some(account), false, due).boxed()
    }

    fn enqueue_after<'a>(
        &'a self,
        source: ClientKey,
        records: Vec<Record>,
        account: Option<Account>,
        due: &'a CancellationToken,
    ) -> CommandFuture<'a, Enqueued<'a>> {
        self.enqueue_in_order(source, records, account, true, due).boxed()
    }

    fn has_queued_records(&self) -> bool {
        self.writer.as_ref().is_some_and(Writer::has_queued_records)
    }

    fn end_writes(&self, by: Instant) -> BoxFuture<'_, ()> {
        match &self.writer {
            Some(writer) => writer.close(by).boxed(),
            None => ready(()).boxed(),
        }
    }
}

fn read_only() -> CommandError {
    CommandError::new(Fault::Rejected, 0, "this cluster has no producer")
}

/// Streams that are known to be offline. Others are waited for as if they were not.
const MAX_OFFLINE: usize = 1_000;
/// The time for which the description of a stream waits for its leader.
const PATIENCE: Duration = Duration::from_secs(1);
/// The pause between looks for a later start of a stream.
const LOOK: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
