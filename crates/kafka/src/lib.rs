//! Kafka as a messaging system: reads through `sluicegate-reader`, writes through librdkafka. No other crate of the
//! bridge names either.
//!
//! - here: [`Kafka`], a cluster
//! - `descriptions`: descriptions of topics, kept while the metadata is the same
//! - `placement`: partitions of records, while some have no leader; `writer`: a cluster's producer;
//!   `producers`: those of clients
//! - `decoding`: values and keys with a schema as JSON; `encoding`: the reverse
//! - `groups`: members of groups, and what these keep
//! - [`ClusterConfig`]: its configuration; [`properties`], `settings`: librdkafka's properties, one by one and as a
//!   producer's settings
//! - `error`, `incidents`: errors for clients; causes that clients must not see are logged

mod cluster_config;
mod decoding;
mod descriptions;
mod encoding;
mod error;
mod groups;
mod incidents;
mod observer;
mod placement;
mod producers;
pub mod properties;
mod settings;
#[cfg(test)]
mod testing;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, ready};
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};
use sluicegate_backend::command::Record;
use sluicegate_backend::groups::Groups;
use sluicegate_backend::rate::ClusterRate;
use sluicegate_backend::{
    Account, AnswerReservation, Backend, Chunk, ClusterMembers, CommandError, CommandFuture, Description,
    Enqueued, Fault, Fetch, ListedOffset, Log, Properties, System, Unready, Version, refuse_schemas,
};
use sluicegate_fair_share::ClientKey;
pub use sluicegate_reader::{EncoderPool, PropertyError, is_secret};
use sluicegate_reader::{ReadError, Reader, SkipMeter};
use sluicegate_shared_log::{ClusterLogs, Ends, LogKey, SeenEnds};
use sluicegate_telemetry::metrics::{BrokerMetrics, DecodeMetrics, WriteMetrics};
use sluicegate_telemetry::traces;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

pub use self::cluster_config::ClusterConfig;
pub use self::decoding::Schemas;
use self::decoding::{Decoding, LogVersion};
use self::descriptions::Descriptions;
use self::encoding::encode;
use self::incidents::Incidents;
use self::observer::ReadObserver;
use self::placement::Placement;
use self::producers::Producers;
pub use self::settings::DEFAULTS;
use self::writer::{NoProducer, Writer};

/// A Kafka cluster.
pub struct Kafka {
    reader: Reader,
    /// None if the cluster is read-only: a producer would cost threads and connections.
    writer: Option<Writer>,
    /// None if it is read-only.
    producers: Option<Producers>,
    placement: Placement,
    /// None: its values have no schemas that are known here.
    decoding: Option<Decoding>,
    descriptions: Descriptions,
    incidents: Arc<Incidents>,
    recent: groups::Recent,
}

impl Kafka {
    /// The cluster of this name in the log. It keeps what it has read in `logs`, shares `encoders` with others, and is
    /// read-only without metrics for `writes`. Nothing is sent yet.
    pub fn new(
        name: &str,
        config: &ClusterConfig,
        (logs, encoders): (ClusterLogs, EncoderPool),
        brokers: BrokerMetrics,
        writes: Option<WriteMetrics>,
    ) -> Self {
        let observer = Arc::new(ReadObserver::new(brokers));
        let reader = Reader::new(
            config.reader.clone().named(name).observed(Arc::clone(&observer) as _),
            logs,
            encoders,
        );
        observer.watch(reader.broker_states());
        let incidents = Arc::new(Incidents::new(name));
        let producers = writes.clone().map(|metrics| {
            Producers::new(reader.clone(), Arc::clone(&incidents), metrics, config.writer.timeout)
        });
        let writer = writes.map(|metrics| Writer::new(config.writer.clone(), metrics));
        Self {
            reader,
            writer,
            producers,
            placement: Placement::new(config.writer.places_as_java()),
            decoding: None,
            descriptions: Descriptions::default(),
            incidents,
            recent: groups::Recent::default(),
        }
    }

    /// The same, whose values and keys with a schema can be given as JSON. What was decoded is kept in `logs`.
    #[must_use]
    pub fn with_schemas(self, schemas: Schemas, logs: ClusterLogs, metrics: DecodeMetrics) -> Self {
        let decoding = Decoding::new(schemas, logs, metrics);
        Self { decoding: Some(decoding), ..self }
    }

    /// The log as decoded records of it are kept; None while nobody knows whether they are those of another leader.
    fn kept_log(&self, log: Log<'_>, committed: bool) -> Option<LogVersion> {
        let Version { topic_id, leader_epoch } = self.reader.fresh_version(log)?;
        let Log { topic, partition } = log;
        let key = LogKey { topic: topic.into(), incarnation: topic_id.unwrap_or(0), partition, committed };
        Some((key, leader_epoch.map_or(-1, i64::from)))
    }

    fn failed(&self, error: &ReadError) -> CommandError {
        error::of_read(error, self.incidents.public(error))
    }
}

impl Backend for Kafka {
    fn ready(&self, within: Duration) -> BoxFuture<'_, Result<String, Unready>> {
        async move {
            match timeout(within, self.reader.ready()).await {
                Ok(Ok(0)) => Ok("a broker that throttles".to_owned()),
                Ok(Ok(1)) => Ok("1 broker".to_owned()),
                Ok(Ok(brokers)) => Ok(format!("{brokers} brokers")),
                Ok(Err(error)) => {
                    self.incidents.public(&error);
                    Err(Unready { key: error::property(&error), cause: error.with_causes() })
                }
                Err(_) => Err(Unready { key: error::SERVERS, cause: self.incidents.not_ready(within) }),
            }
        }
        .boxed()
    }

    fn fetch<'a>(
        &'a self,
        log: Log<'a>,
        fetch: Fetch,
        scans: &'a ClusterRate,
        reservation: &'a mut dyn AnswerReservation,
    ) -> CommandFuture<'a, Chunk> {
        async move {
            let decoding = self.decoding.as_ref().filter(|_| fetch.decode);
            let kept_log = || self.kept_log(log, fetch.committed).filter(|_| fetch.decode);
            let kept = kept_log();
            if let (Some(decoding), Some(kept)) = (decoding, &kept)
                && let Some(enough) = decoding.enough(kept, fetch)
            {
                return Ok(enough);
            }
            // A fetch that may wait has room for its own answer alone.
            let most =
                if decoding.is_some() && fetch.wait.is_zero() && fetch.max_records == 0 { MANY } else { 0 };
            let read = Fetch { max_bytes: fetch.max_bytes.max(most), ..fetch };
            let fetched = self.reader.fetch(log, read, &Scans(scans), reservation).await;
            let fetched = fetched.map_err(|error| {
                let error = self.failed(&error);
                if let (Some(decoding), Some(kept), Fault::OffsetOutOfRange) = (decoding, &kept, error.fault)
                {
                    decoding.invalidate(kept, fetch.offset);
                }
                error
            })?;
            let Some(decoding) = decoding else { return Ok(fetched) };
            // The log's version may have become known, or another one, meanwhile.
            let kept = kept.filter(|kept| kept_log().as_ref() == Some(kept));
            decoding.decode(kept.as_ref(), fetched, fetch, scans).await
        }
        .boxed()
    }

    fn recent(&self, log: Log<'_>, fetch: Fetch) -> Option<Chunk> {
        let read = |fetch| self.reader.recent(log, fetch);
        match self.decoding.as_ref().filter(|_| fetch.decode) {
            Some(decoding) => decoding.recent(&self.kept_log(log, fetch.committed)?, fetch, read),
            None => read(fetch),
        }
    }

    fn version(&self, log: Log<'_>) -> Version {
        self.reader.version(log).unwrap_or_default()
    }

    fn may_have_leader(&self, log: Log<'_>) -> bool {
        self.reader.last_leader(log).is_none_or(|leader| leader.is_led)
    }

    fn last_epoch(&self, log: Log<'_>) -> Option<i32> {
        self.reader.last_leader(log)?.epoch
    }

    fn ask_version<'a>(&'a self, source: ClientKey, log: Log<'a>) -> CommandFuture<'a, Version> {
        async move {
            let asked = self.reader.refresh(source, log).await;
            asked.map(|()| self.version(log)).map_err(|error| self.failed(&error))
        }
        .boxed()
    }

    fn forget(&self, log: Log<'_>) {
        self.reader.forget(log);
        self.decoding.iter().for_each(|decoding| decoding.forget(log.topic, log.partition));
    }

    fn known_end(&self, log: Log<'_>) -> Option<i64> {
        self.reader.known_end(log)
    }

    fn tombstone_life<'a>(
        &'a self,
        source: ClientKey,
        topic: &'a str,
    ) -> CommandFuture<'a, Option<Duration>> {
        let life = self.reader.tombstone_life(source, topic);
        life.map(|life| life.map(Some).map_err(|error| self.failed(&error))).boxed()
    }

    fn end_of_epoch<'a>(
        &'a self,
        source: ClientKey,
        log: Log<'a>,
        epoch: i32,
    ) -> CommandFuture<'a, Option<i64>> {
        let end = self.reader.end_of_epoch(source, log, epoch);
        end.map(|end| end.map_err(|error| self.failed(&error))).boxed()
    }

    fn is_watched(&self, log: Log<'_>, offset: i64, committed: bool) -> bool {
        self.reader.is_watched(log, offset, committed)
    }

    fn wait_for_records<'a>(
        &'a self,
        log: Log<'a>,
        offset: i64,
        committed: bool,
        until: Option<Instant>,
        seen: SeenEnds,
    ) -> BoxFuture<'a, Option<Ends>> {
        self.reader.wait_for_records(log, offset, committed, until, seen).boxed()
    }

    fn list_offsets<'a>(
        &'a self,
        source: ClientKey,
        asked: &'a [(Log<'a>, i64)],
        committed: bool,
    ) -> BoxStream<'a, (usize, Result<ListedOffset, CommandError>)> {
        let listed = self.reader.list_offsets(source, asked, committed);
        listed.map(|(number, listed)| (number, listed.map_err(|error| self.failed(&error)))).boxed()
    }

    fn topics(&self) -> CommandFuture<'_, Arc<[String]>> {
        self.reader.topics().map(|topics| topics.map_err(|error| self.failed(&error))).boxed()
    }

    fn groups(&self) -> Option<&dyn Groups> {
        Some(self)
    }

    fn known_partitions(&self, topic: &str) -> usize {
        self.reader.known_partitions(topic)
    }

    fn partitions<'a>(&'a self, source: ClientKey, topic: &'a str) -> CommandFuture<'a, Arc<Description>> {
        let described = self.reader.topic(source, topic).map(move |described| match described {
            Ok(described) => Ok(self.descriptions.of(topic, described)),
            Err(error) => Err(self.failed(&error)),
        });
        described.boxed()
    }

    fn members(&self, source: ClientKey) -> CommandFuture<'_, ClusterMembers> {
        let members = self.reader.members(source).map(|members| match members {
            Ok(members) => Ok(ClusterMembers { id: members.id, brokers: members.brokers }),
            Err(error) => Err(self.failed(&error)),
        });
        members.boxed()
    }

    fn known_properties(&self, topic: &str) -> Option<Properties> {
        self.reader.known_properties(topic)
    }

    fn properties<'a>(&'a self, source: ClientKey, topic: &'a str) -> CommandFuture<'a, Properties> {
        let properties = self.reader.properties(source, topic);
        properties.map(|properties| properties.map_err(|error| self.failed(&error))).boxed()
    }

    fn check_log<'a>(&'a self, source: ClientKey, log: Log<'a>) -> CommandFuture<'a, ()> {
        let checked = self.reader.check_partition(source, log);
        checked.map(|checked| checked.map_err(|error| self.failed(&error).with_retry())).boxed()
    }

    fn prepare_writes(&self) -> BoxFuture<'_, ()> {
        match &self.writer {
            Some(writer) => writer.prepare().boxed(),
            None => ready(()).boxed(),
        }
    }

    fn encode<'a>(
        &'a self,
        source: ClientKey,
        records: &'a mut [Record],
        errors: &'a mut [Option<CommandError>],
        scans: &'a ClusterRate,
    ) -> BoxFuture<'a, ()> {
        async move {
            match &self.decoding {
                None => refuse_schemas(records, errors),
                Some(of) => encode(of.schemas(), of.holder(source), records, errors, scans).await,
            }
        }
        .boxed()
    }

    fn enqueue<'a>(
        &'a self,
        source: ClientKey,
        mut records: Vec<Record>,
        mut errors: Vec<Option<CommandError>>,
        due: &'a CancellationToken,
    ) -> CommandFuture<'a, Enqueued<'a>> {
        async move {
            let Some(writer) = &self.writer else {
                return Err(CommandError::new(Fault::Rejected, 0, "this cluster has no producer"));
            };
            self.placement.place(&self.reader, source, &mut records, &mut errors).await;
            let span = traces::produce(System::Kafka, records.len());
            let enqueued = writer.enqueue(source, records, errors).await;
            let enqueued = enqueued.map_err(|error| match error {
                NoProducer::Unreachable { cause, retriable } => {
                    error::unreachable(self.incidents.no_producer(cause), retriable)
                }
                NoProducer::Refused(error) => error,
            })?;
            let (queued, reports) = (enqueued.queued, writer.wait(enqueued, due));
            Ok(Enqueued { queued, reports: traces::reported(span, reports).boxed() })
        }
        .boxed()
    }

    fn place<'a>(
        &'a self,
        source: ClientKey,
        records: &'a mut [Record],
        errors: &'a mut [Option<CommandError>],
        producer: Option<i64>,
    ) -> BoxFuture<'a, ()> {
        let failed = |error: &ReadError| self.failed(error).with_retry();
        self.placement.place_all(&self.reader, source, (records, errors), producer, failed).boxed()
    }

    fn recognition(&self) -> CommandFuture<'_, Option<String>> {
        let told = producers::recognition(&self.reader);
        told.map(|told| told.map(Some).map_err(|error| self.failed(&error))).boxed()
    }

    fn enqueue_once<'a>(
        &'a self,
        source: ClientKey,
        records: Vec<Record>,
        account: Account,
        due: &'a CancellationToken,
    ) -> CommandFuture<'a, Enqueued<'a>> {
        let (Some(writer), Some(producers)) = (&self.writer, &self.producers) else {
            return ready(Err(CommandError::new(Fault::Rejected, 0, "this cluster has no producer"))).boxed();
        };
        let span = traces::produce(System::Kafka, records.len());
        let enqueued = writer.permits(source, &records).map(|permits| {
            let Enqueued { queued, reports } = producers.enqueue(source, records, account, permits, due);
            Enqueued { queued, reports: traces::reported(span, reports).boxed() }
        });
        ready(enqueued).boxed()
    }

    fn has_queued_records(&self) -> bool {
        self.writer.as_ref().is_some_and(Writer::has_queued_records)
    }

    fn end_writes(&self, by: Instant) -> BoxFuture<'_, ()> {
        match &self.writer {
            Some(writer) => async move {
                let of_clients = async {
                    if let Some(producers) = &self.producers {
                        producers.close(by).await;
                    }
                };
                tokio::join!(writer.close(by), of_clients);
            }
            .boxed(),
            None => ready(()).boxed(),
        }
    }
}

/// Records that are decoded at a time, in bytes, if there are as many: deliveries of them are large.
pub(crate) const MANY: usize = 256 * 1024;

/// Counts skipped bytes to the client that reads.
#[derive(Debug)]
struct Scans<'a>(&'a ClusterRate);

impl SkipMeter for Scans<'_> {
    fn skipped(&self, source: ClientKey, bytes: usize) -> BoxFuture<'_, ()> {
        self.0.take(source, bytes).boxed()
    }
}
