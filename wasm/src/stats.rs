//! The filter's metrics. Envoy shows them under `wasmcustom.`.

use std::cell::Cell;

use sluicegate_ws_session::request::Command;
use sluicegate_ws_session::{Event, SessionError};

use crate::host::{self, Metric};

/// Declares each metric once: meaning, field, kind and name. `docs/reference/metrics.md` is rendered from the
/// declarations.
macro_rules! metrics {
    ($(#[doc = $meaning:literal] $field:ident: $kind:ident $name:literal,)*) => {
        /// Ids of the metrics; None for one that the host refused.
        #[derive(Debug)]
        pub(crate) struct Stats {
            $(#[doc = $meaning] $field: Option<u32>,)*
            complained: Cell<bool>,
        }

        impl Stats {
            pub(crate) fn define() -> Self {
                Self {
                    $($field: host::define_metric(Metric::$kind, concat!("sluicegate.", $name)).ok(),)*
                    complained: Cell::new(false),
                }
            }
        }
    };
}

metrics! {
    /// Sessions opened
    sessions_total: Counter "sessions_total",
    /// Open sessions
    sessions_open: Gauge "sessions_open",
    /// Upgrades that the filter refused
    handshakes_refused: Counter "handshakes_refused",
    /// Upgrades that the bridge refused
    bridge_refused: Counter "bridge_refused",
    /// Plain HTTP requests
    http_requests: Counter "http.requests",
    /// Plain HTTP requests that the filter refused
    http_refused: Counter "http.refused",
    /// Plain HTTP requests that got no answer from the bridge
    http_answers_lost: Counter "http.answers_lost",
    /// Ping commands
    ping: Counter "commands.ping",
    /// Fetch commands
    kafka_fetch: Counter "commands.kafka_fetch",
    /// List-offset commands
    kafka_list_offset: Counter "commands.kafka_list_offset",
    /// Multi-fetch commands
    kafka_multi_fetch: Counter "commands.kafka_multi_fetch",
    /// List-offsets commands
    kafka_list_offsets: Counter "commands.kafka_list_offsets",
    /// Metadata commands
    kafka_metadata: Counter "commands.kafka_metadata",
    /// Subscribe commands
    kafka_subscribe: Counter "commands.kafka_subscribe",
    /// Unsubscribe commands
    unsubscribe: Counter "commands.unsubscribe",
    /// Credit commands
    credit: Counter "commands.credit",
    /// Produce commands
    kafka_produce: Counter "commands.kafka_produce",
    /// NATS fetch commands
    nats_fetch: Counter "commands.nats_fetch",
    /// NATS list-sequences commands
    nats_list_sequences: Counter "commands.nats_list_sequences",
    /// NATS subscribe commands
    nats_subscribe: Counter "commands.nats_subscribe",
    /// NATS publish commands
    nats_publish: Counter "commands.nats_publish",
    /// Session commands
    session: Counter "commands.session",
    /// Renewals of identities
    auth: Counter "commands.auth",
    /// Commits of members of groups
    kafka_commit: Counter "commands.kafka_commit",
    /// Messages of JSON sessions
    json: Counter "commands.json",
    /// Commands that this version does not know
    unknown_command: Counter "errors.unknown_command",
    /// Messages that are not a valid `PubSubReq`
    wrong_command: Counter "errors.wrong_command",
    /// Sessions closed for a WebSocket protocol error (1002)
    protocol_error: Counter "errors.protocol",
    /// Sessions closed for text that is not UTF-8 (1007)
    not_utf8: Counter "errors.not_utf8",
    /// JSON sessions closed for a binary message (1003)
    not_text: Counter "errors.not_text",
    /// Protobuf sessions closed for a text message (1003)
    not_binary: Counter "errors.not_binary",
    /// Sessions closed for a message over the limit (1009)
    message_too_big: Counter "errors.message_too_big",
    /// Sessions closed because their address held too many unfinished messages (1013)
    evicted: Counter "errors.evicted",
    /// Sessions closed because their address sent too many frames at once (1013)
    too_many_frames: Counter "errors.too_many_frames",
    /// Sessions closed because no memory was left (1013)
    out_of_memory: Counter "errors.out_of_memory",
    /// Host calls that Envoy refused
    host_call: Counter "errors.host_call",
    /// Bytes received from clients in sessions
    bytes_from_client: Counter "bytes_from_client",
    /// Bytes sent to clients in sessions
    bytes_to_client: Counter "bytes_to_client",
}

impl Stats {
    pub(crate) fn session_opened(&self) {
        self.add(self.sessions_total, 1);
        self.add(self.sessions_open, 1);
    }

    pub(crate) fn session_ended(&self) {
        self.add(self.sessions_open, -1);
    }

    pub(crate) fn handshake_refused(&self) {
        self.add(self.handshakes_refused, 1);
    }

    pub(crate) fn bridge_refused(&self) {
        self.add(self.bridge_refused, 1);
    }

    pub(crate) fn http_requested(&self) {
        self.add(self.http_requests, 1);
    }

    pub(crate) fn http_refused(&self) {
        self.add(self.http_refused, 1);
    }

    pub(crate) fn http_answer_lost(&self) {
        self.add(self.http_answers_lost, 1);
    }

    pub(crate) fn host_call_failed(&self) {
        self.add(self.host_call, 1);
    }

    pub(crate) fn received(&self, bytes: usize) {
        self.add(self.bytes_from_client, i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    pub(crate) fn sent(&self, bytes: usize) {
        self.add(self.bytes_to_client, i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    pub(crate) fn event(&self, event: Event, count: u64) {
        let metric = match event {
            Event::Command(Command::Ping) => self.ping,
            Event::Command(Command::KafkaFetch) => self.kafka_fetch,
            Event::Command(Command::KafkaListOffset) => self.kafka_list_offset,
            Event::Command(Command::KafkaProduce) => self.kafka_produce,
            Event::Command(Command::KafkaMultiFetch) => self.kafka_multi_fetch,
            Event::Command(Command::KafkaListOffsets) => self.kafka_list_offsets,
            Event::Command(Command::KafkaMetadata) => self.kafka_metadata,
            Event::Command(Command::KafkaSubscribe) => self.kafka_subscribe,
            Event::Command(Command::Unsubscribe) => self.unsubscribe,
            Event::Command(Command::Credit) => self.credit,
            Event::Command(Command::NatsFetch) => self.nats_fetch,
            Event::Command(Command::NatsListSequences) => self.nats_list_sequences,
            Event::Command(Command::NatsSubscribe) => self.nats_subscribe,
            Event::Command(Command::NatsPublish) => self.nats_publish,
            Event::Command(Command::Session) => self.session,
            Event::Command(Command::Auth) => self.auth,
            Event::Command(Command::KafkaCommit) => self.kafka_commit,
            Event::Json => self.json,
            Event::UnknownCommand => self.unknown_command,
            Event::WrongCommand => self.wrong_command,
            Event::Error(SessionError::Protocol(_)) => self.protocol_error,
            Event::Error(SessionError::NotUtf8) => self.not_utf8,
            Event::Error(SessionError::NotText) => self.not_text,
            Event::Error(SessionError::NotBinary) => self.not_binary,
            Event::Error(SessionError::MessageTooBig { .. }) => self.message_too_big,
            Event::Error(SessionError::Evicted) => self.evicted,
            Event::Error(SessionError::TooManyFrames) => self.too_many_frames,
            Event::Error(SessionError::OutOfMemory) => self.out_of_memory,
        };
        self.add(metric, i64::try_from(count).unwrap_or(i64::MAX));
    }

    fn add(&self, metric: Option<u32>, offset: i64) {
        // Envoy refuses an increment by 0.
        if offset == 0 {
            return;
        }
        let added = metric.map(|id| host::add_to_metric(id, offset));
        if !matches!(added, Some(Ok(()))) && !self.complained.replace(true) {
            host::log_error("the host refuses metrics: counts are incomplete");
        }
    }
}
