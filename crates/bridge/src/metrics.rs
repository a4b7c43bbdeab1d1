//! The bridge's metrics, under Prometheus' names.

use std::fmt;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use sluicegate_shared_log::{SharedLog, Stats};
use sluicegate_ws_session::SessionError;

/// Everything that is counted, by label.
#[derive(Clone)]
pub(crate) struct Metrics {
    sessions: Family<ClusterLabel, Gauge>,
    ended: Family<EndLabels, Counter>,
    refused: Family<ReasonLabel, Counter>,
    faults: Family<EndLabels, Counter>,
    commands: Family<CommandLabels, Counter>,
    durations: Family<KindLabels, Histogram, fn() -> Histogram>,
    answer_bytes: Family<ClusterLabel, Counter>,
    http: Family<StatusLabels, Counter>,
    written_records: Family<ClusterLabel, Counter>,
    written_bytes: Family<ClusterLabel, Counter>,
    write_failures: Family<ClusterLabel, Counter>,
    write_queue: Family<ClusterLabel, Gauge>,
    reloads: Counter,
    config_rejected: Gauge,
}

/// The counters of one cluster, found once.
pub(crate) struct ClusterMetrics {
    pub(crate) sessions: Gauge,
    /// Bytes that went into writes, gRPC heads included.
    pub(crate) answer_bytes: Counter,
    /// By status, of which there are few.
    http: Family<StatusLabels, Counter>,
    faults: Family<EndLabels, Counter>,
    cluster: String,
    ended: [Counter; SessionEnd::ALL.len()],
    commands: [[Counter; Outcome::ALL.len()]; Kind::ALL.len()],
    durations: [Histogram; Kind::ALL.len()],
}

/// The counters of writes to one cluster.
#[derive(Debug, Clone, Default)]
pub(crate) struct WriteMetrics {
    records: Counter,
    bytes: Counter,
    /// Records that were not acknowledged.
    pub(crate) failed: Counter,
    /// Records in the producer's queue or on their way.
    pub(crate) queued: Gauge,
}

/// The kind of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Ping,
    Fetch,
    ListOffset,
    MultiFetch,
    ListOffsets,
    Produce,
    /// The list of topics, or where one is.
    Topics,
    /// The beginning of a subscription.
    Subscribe,
    /// Nothing that this version knows, or nothing that can be read.
    Unknown,
}

/// The outcome of a command.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Outcome {
    Answered,
    /// An error by the client's fault or a broker's decision.
    Refused,
    /// No broker could be asked.
    Unavailable,
}

/// Why a session ended.
#[derive(Debug, Clone, Copy)]
pub(crate) enum SessionEnd {
    Closed,
    Left,
    Drained,
    Silent,
    Stalled,
    Unfinished,
    TooManyWaiting,
    TooLarge,
    Compressed,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        Self {
            sessions: Family::default(),
            ended: Family::default(),
            refused: Family::default(),
            faults: Family::default(),
            commands: Family::default(),
            durations: Family::new_with_constructor(durations),
            answer_bytes: Family::default(),
            http: Family::default(),
            written_records: Family::default(),
            written_bytes: Family::default(),
            write_failures: Family::default(),
            write_queue: Family::default(),
            reloads: Counter::default(),
            config_rejected: Gauge::default(),
        }
    }

    /// A registry with all metrics, and the counts of `logs`.
    pub(crate) fn registry(&self, logs: SharedLog) -> Registry {
        let mut registry = Registry::with_prefix("sluicegate");
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
        registry.register("http_responses", "Plain HTTP responses, by status", self.http.clone());
        registry.register("written_records", "Records that Kafka acknowledged", self.written_records.clone());
        let bytes = "Key and value bytes of acknowledged records";
        registry.register("written_bytes", bytes, self.written_bytes.clone());
        let failures = "Records that Kafka did not acknowledge";
        registry.register("write_failures", failures, self.write_failures.clone());
        let queue = "Records in the producer's queue or in flight";
        registry.register("write_queue_records", queue, self.write_queue.clone());
        let reloads = "New configurations, taken up or rejected";
        registry.register("config_reloads", reloads, self.reloads.clone());
        let rejected = "1 while the newest configuration is invalid and an earlier one is in use";
        registry.register("config_rejected", rejected, self.config_rejected.clone());
        registry.register_collector(Box::new(ReadMetrics(logs)));
        registry
    }

    /// A request was turned away; `reason` is one of a few fixed words.
    pub(crate) fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// The counters of writes to one cluster.
    pub(crate) fn writes(&self, name: &str) -> WriteMetrics {
        let cluster = &ClusterLabel { cluster: name.to_owned() };
        WriteMetrics {
            records: self.written_records.get_or_create_owned(cluster),
            bytes: self.written_bytes.get_or_create_owned(cluster),
            failed: self.write_failures.get_or_create_owned(cluster),
            queued: self.write_queue.get_or_create_owned(cluster),
        }
    }

    /// A new configuration was taken up, or rejected.
    pub(crate) fn reloaded(&self, is_valid: bool) {
        self.reloads.inc();
        self.config_rejected.set(i64::from(!is_valid));
    }

    /// The counters of one cluster. Every label exists from the start, so that a rate sees the first event.
    pub(crate) fn cluster(&self, name: &str) -> ClusterMetrics {
        let cluster = || name.to_owned();
        let command = |kind: Kind, outcome: Outcome| {
            let labels = CommandLabels { cluster: cluster(), kind: kind.label(), outcome: outcome.label() };
            self.commands.get_or_create_owned(&labels)
        };
        let duration = |kind: Kind| {
            self.durations.get_or_create_owned(&KindLabels { cluster: cluster(), kind: kind.label() })
        };
        let ended = |end: SessionEnd| {
            self.ended.get_or_create_owned(&EndLabels { cluster: cluster(), reason: end.label() })
        };
        ClusterMetrics {
            sessions: self.sessions.get_or_create_owned(&ClusterLabel { cluster: cluster() }),
            answer_bytes: self.answer_bytes.get_or_create_owned(&ClusterLabel { cluster: cluster() }),
            http: self.http.clone(),
            faults: self.faults.clone(),
            cluster: cluster(),
            ended: SessionEnd::ALL.map(ended),
            commands: Kind::ALL.map(|kind| Outcome::ALL.map(|outcome| command(kind, outcome))),
            durations: Kind::ALL.map(duration),
        }
    }
}

/// What the records kept in memory count.
#[derive(Debug)]
struct ReadMetrics(SharedLog);

impl Collector for ReadMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Stats { hits, misses, bytes, tails, waiters, tail_requests, received_bytes } = self.0.stats();
        for (name, help, value) in [
            ("read_cache_hits", "Reads that were answered from memory", hits),
            (
                "read_cache_misses",
                "Reads that Kafka was asked for; those of several clients can share one",
                misses,
            ),
            (
                "tail_requests",
                "Fetches sent to Kafka for all reads that wait at the ends of its partitions",
                tail_requests,
            ),
            (
                "read_bytes",
                "Bytes of records that Kafka has sent, compressed as they are stored",
                received_bytes,
            ),
        ] {
            let counter = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(value).encode(counter)?;
        }
        for (name, help, value) in [
            ("read_cache_bytes", "Recently read records in memory, in bytes", bytes as u64),
            ("tails", "Partitions at whose end clients wait", tails),
            ("tail_waiters", "Reads that wait at the end of a partition", waiters),
        ] {
            let gauge = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(value).encode(gauge)?;
        }
        Ok(())
    }
}

impl WriteMetrics {
    /// Kafka acknowledged a record of so many bytes.
    pub(crate) fn written(&self, bytes: usize) {
        self.records.inc();
        self.bytes.inc_by(bytes as u64);
    }
}

impl ClusterMetrics {
    /// A command of `kind` was answered after `took`.
    pub(crate) fn command(&self, kind: Kind, outcome: Outcome, took: Duration) {
        if let Some(durations) = self.durations.get(kind as usize) {
            durations.observe(took.as_secs_f64());
        }
        self.answered(kind, outcome);
    }

    /// A command that needed no Kafka was answered at once.
    pub(crate) fn answered(&self, kind: Kind, outcome: Outcome) {
        if let Some(commands) = self.commands.get(kind as usize).and_then(|kinds| kinds.get(outcome as usize))
        {
            commands.inc();
        }
    }

    /// Open sessions.
    pub(crate) fn open_sessions(&self) -> usize {
        usize::try_from(self.sessions.get()).unwrap_or_default()
    }

    /// A plain HTTP request was answered.
    pub(crate) fn http(&self, status: u32) {
        self.http.get_or_create(&StatusLabels { cluster: self.cluster.clone(), status }).inc();
    }

    /// A client of the WebSocket endpoint was closed for what it sent. The reasons have the filter's names for them.
    pub(crate) fn client_fault(&self, error: SessionError) {
        let reason = match error {
            SessionError::Protocol(_) => "protocol",
            SessionError::NotUtf8 => "not_utf8",
            SessionError::NotText => "not_text",
            SessionError::MessageTooBig { .. } => "message_too_big",
            SessionError::Evicted => "evicted",
            SessionError::OutOfMemory => "out_of_memory",
        };
        self.faults.get_or_create(&EndLabels { cluster: self.cluster.clone(), reason }).inc();
    }

    /// A session is over.
    pub(crate) fn ended(&self, end: SessionEnd) {
        if let Some(ended) = self.ended.get(end as usize) {
            ended.inc();
        }
    }
}

impl Kind {
    const ALL: [Self; 9] = [
        Self::Ping,
        Self::Fetch,
        Self::ListOffset,
        Self::MultiFetch,
        Self::ListOffsets,
        Self::Produce,
        Self::Topics,
        Self::Subscribe,
        Self::Unknown,
    ];

    fn label(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Fetch => "fetch",
            Self::ListOffset => "list_offset",
            Self::MultiFetch => "multi_fetch",
            Self::ListOffsets => "list_offsets",
            Self::Produce => "produce",
            Self::Topics => "topics",
            Self::Subscribe => "subscribe",
            Self::Unknown => "unknown",
        }
    }
}

impl Outcome {
    const ALL: [Self; 3] = [Self::Answered, Self::Refused, Self::Unavailable];

    fn label(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
        }
    }
}

impl SessionEnd {
    const ALL: [Self; 9] = [
        Self::Closed,
        Self::Left,
        Self::Drained,
        Self::Silent,
        Self::Stalled,
        Self::Unfinished,
        Self::TooManyWaiting,
        Self::TooLarge,
        Self::Compressed,
    ];

    /// A name for metrics and logs.
    pub(crate) fn label(self) -> &'static str {
        self.described().0
    }

    /// The label and its meaning.
    fn described(self) -> (&'static str, &'static str) {
        match self {
            Self::Closed => ("closed", "client or filter closed the session"),
            Self::Left => ("left", "the connection ended without a close"),
            Self::Drained => ("drained", "the bridge shut down, or its cluster was removed (1001)"),
            Self::Silent => ("silent", "the client did not answer two pings (1011)"),
            Self::Stalled => ("stalled", "the client did not read its answers"),
            Self::Unfinished => ("unfinished", "a message was not complete in time (1008)"),
            Self::TooManyWaiting => {
                ("too_many_waiting", "a gRPC client had too many requests waiting (1008)")
            }
            Self::TooLarge => ("too_large", "a gRPC message exceeded `limits.max_request_bytes` (1009)"),
            Self::Compressed => ("compressed", "a gRPC message was compressed (1011)"),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClusterLabel {
    cluster: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatusLabels {
    cluster: String,
    status: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndLabels {
    cluster: String,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    cluster: String,
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CommandLabels {
    cluster: String,
    kind: &'static str,
    outcome: &'static str,
}

fn durations() -> Histogram {
    Histogram::new(BUCKETS)
}

/// In seconds: from an answer out of a cache to a broker's time-out.
const BUCKETS: [f64; 12] = [0.0002, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;
    use crate::reference;

    #[test]
    fn reference_lists_every_metric() {
        let metrics = Metrics::new();
        metrics.cluster("c").http(200);
        metrics.cluster("c").client_fault(SessionError::NotUtf8);
        metrics.refused("secret");
        metrics.writes("c").written(1);
        let mut text = String::new();
        encode(&mut text, &metrics.registry(SharedLog::default())).unwrap();
        let rows: Vec<Vec<String>> = text.split("# HELP ").skip(1).map(row).collect();
        assert_eq!(rows.len(), 21, "a metric without samples is not shown: {text}");
        let table = reference::table(&["metric", "type", "labels", "meaning"], &rows);
        reference::check("metrics.md", "metrics", &table);
    }

    /// Of a metric's help, type and first sample in Prometheus' text format.
    fn row(text: &str) -> Vec<String> {
        let mut lines = text.lines();
        let (name, help) = lines.next().unwrap().split_once(' ').unwrap();
        let kind = lines.next().unwrap().rsplit_once(' ').unwrap().1;
        let sample = lines.next().unwrap().split_once(' ').unwrap().0;
        let (sample, labels) = sample.split_once('{').unwrap_or((sample, ""));
        let labels = labels.trim_end_matches('}').split(',');
        let labels = labels.filter_map(|label| label.split_once('=')).map(|(label, _)| format!("`{label}`"));
        let shown = if kind == "histogram" { name } else { sample };
        let labels: Vec<String> = labels.filter(|label| label != "`le`").collect();
        vec![format!("`{shown}`"), kind.to_owned(), labels.join(", "), help.trim_end_matches('.').to_owned()]
    }

    #[test]
    fn reference_lists_every_label() {
        let quoted = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
            words.join(", ")
        };
        let list = [
            ("`kind` of a command", quoted(&Kind::ALL.map(Kind::label))),
            ("`outcome` of a command", quoted(&Outcome::ALL.map(Outcome::label))),
        ];
        let list: String = list.iter().map(|(label, values)| format!("- {label}: {values}\n")).collect();
        reference::check("metrics.md", "labels", &list);
        let ends = SessionEnd::ALL.map(SessionEnd::described);
        let ends = ends.map(|(label, meaning)| vec![format!("`{label}`"), meaning.to_owned()]);
        reference::check("metrics.md", "session ends", &reference::table(&["reason", "meaning"], &ends));
    }

    #[test]
    fn events_are_counted_under_their_labels() {
        let metrics = Metrics::new();
        let cluster = metrics.cluster("default");
        cluster.command(Kind::Fetch, Outcome::Unavailable, Duration::from_millis(3));
        cluster.ended(SessionEnd::Drained);
        cluster.http(404);
        cluster.client_fault(SessionError::NotUtf8);
        metrics.refused("secret");
        metrics.writes("default").written(7);
        let mut text = String::new();
        encode(&mut text, &metrics.registry(SharedLog::default())).unwrap();
        for line in [
            r#"sluicegate_commands_total{cluster="default",kind="fetch",outcome="unavailable"} 1"#,
            r#"sluicegate_commands_total{cluster="default",kind="ping",outcome="answered"} 0"#,
            r#"sluicegate_command_duration_seconds_bucket{le="0.005",cluster="default",kind="fetch"} 1"#,
            r#"sluicegate_sessions_ended_total{cluster="default",reason="drained"} 1"#,
            r#"sluicegate_requests_refused_total{reason="secret"} 1"#,
            r#"sluicegate_client_faults_total{cluster="default",reason="not_utf8"} 1"#,
            r#"sluicegate_sessions{cluster="default"} 0"#,
            r#"sluicegate_http_responses_total{cluster="default",status="404"} 1"#,
            r#"sluicegate_written_records_total{cluster="default"} 1"#,
            r#"sluicegate_written_bytes_total{cluster="default"} 7"#,
            r#"sluicegate_write_failures_total{cluster="default"} 0"#,
            r#"sluicegate_write_queue_records{cluster="default"} 0"#,
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
