//! The bridge's metrics, under Prometheus' names.
//!
//! - here: the registry; sessions, commands, plain HTTP, writes
//! - `deliveries`: what clients got, by the gateway's route
//! - `requests`: requests to servers of messaging systems; `brokers`: those of Kafka, and their state
//! - `consumers`: members of groups
//! - `reads`: what the shared log counts, and tables in memory
//! - `revocations`: identities that are over before they expire
//! - `quotas`: people who reach a limit of their quota
//! - `schemas`: look-ups in schema registries, and records that could not be decoded
//! - `labels`: labels and their values

mod brokers;
mod consumers;
mod deliveries;
mod labels;
mod quotas;
mod reads;
mod requests;
mod revocations;
mod schemas;

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use sluicegate_shared_log::SharedLog;
use sluicegate_ws_session::SessionError;

pub use self::brokers::{BrokerMetrics, BrokerStates};
pub use self::consumers::{ConsumerMetrics, GroupLags, OpenConsumer};
pub use self::deliveries::RouteMetrics;
pub use self::labels::{Kind, Outcome, SessionEnd, WriteFailure};
pub use self::quotas::{Limit, QuotaMetrics};
pub use self::reads::TableMetrics;
pub use self::requests::RequestMetrics;
pub use self::revocations::RevocationMetrics;
pub use self::schemas::{DecodeMetrics, LookupMetrics};

use self::brokers::Brokers;
use self::consumers::Consumers;
use self::deliveries::{Deliveries, Routes};
use self::labels::{
    ClusterLabel, CommandLabels, KindLabels, ReasonLabels, RefusalLabel, RouteLabels, StatusLabels,
};
use self::quotas::Quotas;
use self::reads::ReadMetrics;
use self::requests::Requests;
use self::schemas::Schemas;
use crate::traces::ExportCounts;

/// Everything that is counted, by label.
#[derive(Clone)]
pub struct Metrics {
    sessions: Family<ClusterLabel, Gauge>,
    ended: Family<ReasonLabels, Counter>,
    refused: Family<RefusalLabel, Counter>,
    faults: Family<ReasonLabels, Counter>,
    commands: Family<CommandLabels, Counter>,
    durations: Family<KindLabels, Histogram, fn() -> Histogram>,
    answer_bytes: Family<ClusterLabel, Counter>,
    http: Family<StatusLabels, Counter>,
    http_durations: Family<RouteLabels, Histogram, fn() -> Histogram>,
    subscriptions: Family<ClusterLabel, Gauge>,
    written_records: Family<ClusterLabel, Counter>,
    written_bytes: Family<ClusterLabel, Counter>,
    write_failures: Family<ReasonLabels, Counter>,
    write_queue: Family<ClusterLabel, Gauge>,
    reloads: Counter,
    config_rejected: Gauge,
    revocations: RevocationMetrics,
    tables: TableMetrics,
    consumers: Consumers,
    quotas: Quotas,
    /// Lines of the audit log that could not be written.
    pub audit_lines_dropped: Counter,
    write_durations: Family<ClusterLabel, Histogram, fn() -> Histogram>,
    deliveries: Deliveries,
    brokers: Brokers,
    nats: Requests,
    schemas: Schemas,
}

/// The counters of one cluster, found once.
pub struct ClusterMetrics {
    /// Open sessions.
    pub sessions: Gauge,
    /// Bytes that went into writes, gRPC heads included.
    pub answer_bytes: Counter,
    /// By status, of which there are few.
    http: Family<StatusLabels, Counter>,
    http_durations: Family<RouteLabels, Histogram, fn() -> Histogram>,
    subscriptions: Gauge,
    lag: Histogram,
    /// Members of groups.
    pub consumers: ConsumerMetrics,
    routes: Routes,
    /// The limits that people reach.
    pub quotas: Arc<QuotaMetrics>,
    faults: Family<ReasonLabels, Counter>,
    cluster: String,
    ended: [Counter; SessionEnd::ALL.len()],
    commands: [[Counter; Outcome::ALL.len()]; Kind::ALL.len()],
    durations: [Histogram; Kind::ALL.len()],
}

/// The counters of writes to one cluster.
#[derive(Debug, Clone)]
pub struct WriteMetrics {
    records: Counter,
    bytes: Counter,
    failures: [Counter; WriteFailure::ALL.len()],
    /// Records in the producer's queue or on their way.
    pub queued: Gauge,
    durations: Histogram,
}

/// An open subscription.
pub struct OpenSubscription(Gauge);

impl Drop for OpenSubscription {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Metrics that count nothing yet.
impl Default for Metrics {
    fn default() -> Self {
        Self {
            sessions: Family::default(),
            ended: Family::default(),
            refused: Family::default(),
            faults: Family::default(),
            commands: Family::default(),
            durations: Family::new_with_constructor(durations),
            answer_bytes: Family::default(),
            http: Family::default(),
            http_durations: Family::new_with_constructor(durations),
            subscriptions: Family::default(),
            written_records: Family::default(),
            written_bytes: Family::default(),
            write_failures: Family::default(),
            write_queue: Family::default(),
            reloads: Counter::default(),
            config_rejected: Gauge::default(),
            revocations: RevocationMetrics::default(),
            tables: TableMetrics::default(),
            consumers: Consumers::default(),
            quotas: Quotas::default(),
            audit_lines_dropped: Counter::default(),
            write_durations: Family::new_with_constructor(durations),
            deliveries: Deliveries::default(),
            brokers: Brokers::default(),
            nats: Requests::default(),
            schemas: Schemas::default(),
        }
    }
}

impl Metrics {
    /// A registry with all metrics, the counts of `logs`, and those of traces if there are any.
    pub fn registry(&self, logs: SharedLog, traces: Option<&ExportCounts>) -> Registry {
        let mut registry = Registry::with_prefix("sluicegate");
        let build = [("version", env!("CARGO_PKG_VERSION")), ("revision", REVISION)];
        registry.register("build", "The running version", Info::new(build));
        registry.register("sessions", "Open sessions", self.sessions.clone());
        registry.register("sessions_ended", "Ended sessions, by reason", self.ended.clone());
        let refused = "Refused upgrades and requests, by reason";
        registry.register("requests_refused", refused, self.refused.clone());
        let faults = "Clients of the bridge's own endpoint closed for a fault, by reason";
        registry.register("client_faults", faults, self.faults.clone());
        registry.register("commands", "Answered commands, by kind and outcome", self.commands.clone());
        let durations = "Time from a command to its answer";
        registry.register("command_duration_seconds", durations, self.durations.clone());
        let answer_bytes = "Bytes of answers sent to sessions";
        registry.register("answer_bytes", answer_bytes, self.answer_bytes.clone());
        registry.register("http_responses", "Plain HTTP responses, by route and status", self.http.clone());
        let durations = "Time from a plain HTTP request to the beginning of its response";
        registry.register("http_request_duration_seconds", durations, self.http_durations.clone());
        let subscriptions = "Open subscriptions and streams of events";
        registry.register("subscriptions", subscriptions, self.subscriptions.clone());
        self.deliveries.register(&mut registry);
        registry.register(
            "written_records",
            "Records that the cluster acknowledged",
            self.written_records.clone(),
        );
        let bytes = "Key and value bytes of acknowledged records";
        registry.register("written_bytes", bytes, self.written_bytes.clone());
        let failures = "Records of accepted commands that the cluster did not acknowledge, by reason";
        registry.register("write_failures", failures, self.write_failures.clone());
        let queue = "Records in the producer's queue or in flight";
        registry.register("write_queue_records", queue, self.write_queue.clone());
        let reloads = "New configurations, taken up or rejected";
        registry.register("config_reloads", reloads, self.reloads.clone());
        let rejected = "1 while the newest configuration is invalid and an earlier one is in use";
        registry.register("config_rejected", rejected, self.config_rejected.clone());
        self.revocations.register(&mut registry);
        self.quotas.register(&mut registry);
        let dropped = "Lines of the audit log that could not be written";
        registry.register("audit_lines_dropped", dropped, self.audit_lines_dropped.clone());
        let durations = "Time from the queue to the acknowledgement, of each record";
        registry.register("write_duration_seconds", durations, self.write_durations.clone());
        self.brokers.register(&mut registry);
        self.nats.register("nats", "NATS servers", &mut registry);
        self.schemas.register(&mut registry);
        registry.register_collector(Box::new(ReadMetrics(logs)));
        self.tables.register(&mut registry);
        self.consumers.register(&mut registry);
        if let Some(ExportCounts { exported, dropped, .. }) = traces {
            let help = "Spans that the collector has taken";
            registry.register("trace_spans_exported", help, exported.clone());
            let help = "Sampled spans over a limit, or that the collector did not take";
            registry.register("trace_spans_dropped", help, dropped.clone());
        }
        registry
    }

    /// A request was turned away; `reason` is one of a few fixed words.
    pub fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&RefusalLabel { reason }).inc();
    }

    /// The counters of writes to one cluster.
    pub fn writes(&self, name: &str) -> WriteMetrics {
        let cluster = &ClusterLabel { cluster: name.to_owned() };
        let failure = |failure: WriteFailure| {
            let labels = ReasonLabels { cluster: name.to_owned(), reason: failure.described().0 };
            self.write_failures.get_or_create_owned(&labels)
        };
        WriteMetrics {
            records: self.written_records.get_or_create_owned(cluster),
            bytes: self.written_bytes.get_or_create_owned(cluster),
            failures: WriteFailure::ALL.map(failure),
            queued: self.write_queue.get_or_create_owned(cluster),
            durations: self.write_durations.get_or_create_owned(cluster),
        }
    }

    /// A new configuration was taken up, or rejected.
    pub fn reloaded(&self, is_valid: bool) {
        self.reloads.inc();
        self.config_rejected.set(i64::from(!is_valid));
    }

    /// The metrics of revoked identities.
    pub fn revocations(&self) -> RevocationMetrics {
        self.revocations.clone()
    }

    /// The metrics of tables.
    pub fn tables(&self) -> TableMetrics {
        self.tables.clone()
    }

    /// The counters of requests to one cluster's NATS servers.
    pub fn nats(&self, name: &str) -> RequestMetrics {
        self.nats.cluster(name)
    }

    /// The counters of requests to one cluster's brokers.
    pub fn brokers(&self, name: &str) -> BrokerMetrics {
        self.brokers.cluster(name)
    }

    /// The counters of look-ups in one schema registry, which end with one of these outcomes.
    pub fn lookups(&self, name: &str, outcomes: &[&'static str]) -> LookupMetrics {
        self.schemas.registry(name, outcomes)
    }

    /// The counter of one cluster's records that could not be decoded.
    pub fn decodes(&self, name: &str) -> DecodeMetrics {
        self.schemas.cluster(name)
    }

    /// The counters of one cluster. Every label exists from the start, so that a rate sees the first event.
    pub fn cluster(&self, name: &str) -> ClusterMetrics {
        let cluster = || name.to_owned();
        let command = |kind: Kind, outcome: Outcome| {
            let labels = CommandLabels { cluster: cluster(), kind: kind.label(), outcome: outcome.label() };
            self.commands.get_or_create_owned(&labels)
        };
        let duration = |kind: Kind| {
            self.durations.get_or_create_owned(&KindLabels { cluster: cluster(), kind: kind.label() })
        };
        let ended = |end: SessionEnd| {
            self.ended.get_or_create_owned(&ReasonLabels { cluster: cluster(), reason: end.label() })
        };
        ClusterMetrics {
            sessions: self.sessions.get_or_create_owned(&ClusterLabel { cluster: cluster() }),
            answer_bytes: self.answer_bytes.get_or_create_owned(&ClusterLabel { cluster: cluster() }),
            http: self.http.clone(),
            http_durations: self.http_durations.clone(),
            subscriptions: self.subscriptions.get_or_create_owned(&ClusterLabel { cluster: cluster() }),
            lag: self.deliveries.lag(name),
            consumers: self.consumers.cluster(name),
            routes: self.deliveries.cluster(name),
            quotas: Arc::new(self.quotas.cluster(name)),
            faults: self.faults.clone(),
            cluster: cluster(),
            ended: SessionEnd::ALL.map(ended),
            commands: Kind::ALL.map(|kind| Outcome::ALL.map(|outcome| command(kind, outcome))),
            durations: Kind::ALL.map(duration),
        }
    }
}

impl WriteMetrics {
    /// The cluster acknowledged a record of so many bytes, so long after it was queued.
    pub fn written(&self, bytes: usize, took: Duration) {
        self.durations.observe(took.as_secs_f64());
        self.records.inc();
        self.bytes.inc_by(bytes as u64);
    }

    /// A record was not written, or not acknowledged.
    pub fn failed(&self, failure: WriteFailure) {
        if let Some(failures) = self.failures.get(failure as usize) {
            failures.inc();
        }
    }

    /// The failures of all reasons.
    #[cfg(any(test, feature = "testing"))]
    pub fn failures(&self) -> [u64; WriteFailure::ALL.len()] {
        self.failures.each_ref().map(Counter::get)
    }
}

impl ClusterMetrics {
    /// The cluster's name, as in labels.
    pub fn name(&self) -> &str {
        &self.cluster
    }

    /// A command of `kind` was answered after `took`.
    pub fn command(&self, kind: Kind, outcome: Outcome, took: Duration) {
        if let Some(durations) = self.durations.get(kind as usize) {
            durations.observe(took.as_secs_f64());
        }
        self.answered(kind, outcome);
    }

    /// A command that needed no cluster was answered at once.
    pub fn answered(&self, kind: Kind, outcome: Outcome) {
        self.answered_times(kind, outcome, 1);
    }

    /// The same for so many commands.
    pub fn answered_times(&self, kind: Kind, outcome: Outcome, times: u64) {
        if let Some(commands) = self.commands.get(kind as usize).and_then(|kinds| kinds.get(outcome as usize))
        {
            commands.inc_by(times);
        }
    }

    /// Open sessions.
    pub fn open_sessions(&self) -> usize {
        usize::try_from(self.sessions.get()).unwrap_or_default()
    }

    /// A plain HTTP request was answered. There are few routes and statuses.
    pub fn http(&self, route: &'static str, status: u32, took: Duration) {
        let cluster = || self.cluster.clone();
        let durations = self.http_durations.get_or_create_owned(&RouteLabels { cluster: cluster(), route });
        durations.observe(took.as_secs_f64());
        self.http.get_or_create(&StatusLabels { cluster: cluster(), route, status }).inc();
    }

    /// The counters of the gateway's route that a request names. To be found once for a session.
    pub fn route(&self, named: Option<&[u8]>) -> Arc<RouteMetrics> {
        self.routes.route(named)
    }

    /// Counts a subscription for as long as the result lives.
    pub fn subscription(&self) -> OpenSubscription {
        self.subscriptions.inc();
        OpenSubscription(self.subscriptions.clone())
    }

    /// A subscription is so many records behind.
    pub fn lag(&self, records: u64) {
        self.lag.observe(records as f64);
    }

    /// A client of the WebSocket endpoint was closed for what it sent. The reasons have the filter's names for them.
    pub fn client_fault(&self, error: SessionError) {
        let reason = match error {
            SessionError::Protocol(_) => "protocol",
            SessionError::NotUtf8 => "not_utf8",
            SessionError::NotText => "not_text",
            SessionError::NotBinary => "not_binary",
            SessionError::MessageTooBig { .. } => "message_too_big",
            SessionError::Evicted => "evicted",
            SessionError::TooManyFrames => "too_many_frames",
            SessionError::OutOfMemory => "out_of_memory",
        };
        self.faults.get_or_create(&ReasonLabels { cluster: self.cluster.clone(), reason }).inc();
    }

    /// A session is over.
    pub fn ended(&self, end: SessionEnd) {
        if let Some(ended) = self.ended.get(end as usize) {
            ended.inc();
        }
    }
}

fn durations() -> Histogram {
    Histogram::new(BUCKETS)
}

/// In seconds: from an answer out of memory to the longest wait at a log end.
const BUCKETS: [f64; 17] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
    30.0,
];

/// The revision of the sources, if it is set at build time.
const REVISION: &str = match option_env!("SLUICEGATE_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};

#[cfg(test)]
mod tests;
