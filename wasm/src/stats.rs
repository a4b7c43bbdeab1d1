//! The filter's metrics. Envoy shows them under `wasmcustom.`.

use std::cell::Cell;

use sluicegate_ws_session::request::Command;
use sluicegate_ws_session::{Event, SessionError};

use crate::host::{self, Metric};

/// Declares each metric once: field, kind and name.
macro_rules! metrics {
    ($($field:ident: $kind:ident $name:literal,)*) => {
        /// Ids of the metrics; None for one that the host refused.
        #[derive(Debug)]
        pub(crate) struct Stats {
            $($field: Option<u32>,)*
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
    sessions: Counter "sessions",
    sessions_open: Gauge "sessions_open",
    handshakes_refused: Counter "handshakes_refused",
    bridge_refused: Counter "bridge_refused",
    http_requests: Counter "http.requests",
    http_refused: Counter "http.refused",
    http_answers_lost: Counter "http.answers_lost",
    ping: Counter "commands.ping",
    kafka_fetch: Counter "commands.kafka_fetch",
    kafka_list_offset: Counter "commands.kafka_list_offset",
    kafka_produce: Counter "commands.kafka_produce",
    unknown_command: Counter "errors.unknown_command",
    wrong_command: Counter "errors.wrong_command",
    protocol_error: Counter "errors.protocol",
    not_utf8: Counter "errors.not_utf8",
    message_too_big: Counter "errors.message_too_big",
    evicted: Counter "errors.evicted",
    out_of_memory: Counter "errors.out_of_memory",
    host_call: Counter "errors.host_call",
    bytes_from_client: Counter "bytes_from_client",
    bytes_to_client: Counter "bytes_to_client",
}

impl Stats {
    pub(crate) fn session_opened(&self) {
        self.add(self.sessions, 1);
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

    pub(crate) fn event(&self, event: Event) {
        let metric = match event {
            Event::Command(Command::Ping) => self.ping,
            Event::Command(Command::KafkaFetch) => self.kafka_fetch,
            Event::Command(Command::KafkaListOffset) => self.kafka_list_offset,
            Event::Command(Command::KafkaProduce) => self.kafka_produce,
            Event::UnknownCommand => self.unknown_command,
            Event::WrongCommand => self.wrong_command,
            Event::Error(SessionError::Protocol(_)) => self.protocol_error,
            Event::Error(SessionError::NotUtf8) => self.not_utf8,
            Event::Error(SessionError::MessageTooBig { .. }) => self.message_too_big,
            Event::Error(SessionError::Evicted) => self.evicted,
            Event::Error(SessionError::OutOfMemory) => self.out_of_memory,
        };
        self.add(metric, 1);
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
