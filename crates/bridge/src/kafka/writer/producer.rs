//! librdkafka's idempotent producer: records in, delivery reports out.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rdkafka::bindings::{rd_kafka_flush, rd_kafka_message_status, rd_kafka_msg_status_t};
use rdkafka::client::OAuthToken;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::{ClientContext, Message as _};
use sluicegate_protocol::ProduceRecord;
use tokio::runtime::Handle;

use super::super::settings::Settings;
use super::delivery_reports::DeliveryReports;
use super::error;
use super::in_flight::{InFlight, Ticket};
use super::queue::Room;
use crate::backend::Written;
use crate::metrics::WriteMetrics;

/// A producer with a thread that hears of deliveries. A drop fails what it holds, and blocks: up to half a
/// second for that, and until librdkafka's threads have ended.
pub(super) struct Producer(ThreadedProducer<Context>);

/// Where a record's delivery report goes.
pub(super) struct Handed {
    pub(super) reports: Arc<DeliveryReports>,
    pub(super) index: usize,
    /// Its part of the queue.
    pub(super) room: Room,
}

/// A record in the queue.
struct Sent {
    handed: Handed,
    ticket: Ticket,
}

impl Producer {
    /// Connects to nothing yet. Blocks while files of certificates and keys are read.
    pub(super) fn new(
        settings: Settings,
        metrics: WriteMetrics,
        tokens: Option<Tokens>,
    ) -> KafkaResult<Self> {
        let config = settings.config();
        ThreadedProducer::from_config_and_context(
            &config,
            Context { metrics, in_flight: InFlight::default(), tokens, settings },
        )
        .map(Self)
    }

    /// Puts a record into the queue without waiting for anything. If that fails, its report is still missing.
    pub(super) fn send(&self, record: &ProduceRecord, handed: Handed) -> Result<(), KafkaError> {
        let context = self.0.context();
        context.metrics.queued.inc();
        let sent = Sent { handed, ticket: context.in_flight.enter() };
        let mut base = BaseRecord::<[u8], [u8], _>::with_opaque_to(&record.topic, Box::new(sent));
        base.partition = record.partition.filter(|partition| *partition >= 0);
        base.key = record.key.as_deref();
        base.payload = record.value.as_deref();
        base.timestamp = record.timestamp;
        if !record.headers.is_empty() {
            let empty = OwnedHeaders::new_with_capacity(record.headers.len());
            let insert = |headers: OwnedHeaders, header: &sluicegate_protocol::Header| {
                headers.insert(Header { key: &header.key, value: header.value.as_deref() })
            };
            base.headers = Some(record.headers.iter().fold(empty, insert));
        }
        self.0.send(base).map_err(|(error, _)| {
            context.in_flight.revoke();
            context.metrics.queued.dec();
            error
        })
    }

    /// Why it can write no more: another one can.
    pub(super) fn end(&self) -> Option<KafkaError> {
        self.0.client().fatal_error().map(|(cause, _)| KafkaError::MessageProduction(cause))
    }

    /// Blocks until the queue is empty, and says how many records are left where that is not within the time.
    #[expect(unsafe_code, reason = "rdkafka's own flush passes no time on")]
    pub(super) fn flush(&self, within: Duration) -> i32 {
        let within = i32::try_from(within.as_millis()).unwrap_or(i32::MAX);
        // rdkafka's own `flush` gives librdkafka no time: a broker that connects between two of its calls would wait for `linger.ms`.
        // The producer's thread handles the deliveries meanwhile. What is left says what an error would.
        // SAFETY: the client lives as long as `self`.
        let _ = unsafe { rd_kafka_flush(self.0.client().native_ptr(), within) };
        self.0.in_flight_count()
    }
}

struct Context {
    metrics: WriteMetrics,
    in_flight: InFlight,
    tokens: Option<Tokens>,
    settings: Settings,
}

/// The token that brokers are shown. librdkafka asks for it on the thread that hears of deliveries, which must not wait.
pub(super) struct Tokens {
    reader: sluicegate_reader::Config,
    runtime: Handle,
    /// The last that could be had.
    last: Arc<Mutex<String>>,
}

impl Tokens {
    /// With the first token.
    pub(super) async fn first(reader: sluicegate_reader::Config) -> Result<Self, String> {
        let last = Arc::new(Mutex::new(reader.token().await?));
        Ok(Self { reader, runtime: Handle::current(), last })
    }

    /// The last token. The next is being asked for.
    fn next(&self) -> String {
        let (reader, last) = (self.reader.clone(), Arc::clone(&self.last));
        self.runtime.spawn(async move {
            match reader.token().await {
                Ok(token) => *last.lock().unwrap_or_else(PoisonError::into_inner) = token,
                Err(reason) => tracing::warn!(reason, "no new token for a producer"),
            }
        });
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<Sent>;

    fn delivery(&self, delivery: &DeliveryResult<'_>, sent: Box<Sent>) {
        let Sent { handed: Handed { reports, index, room }, ticket } = *sent;
        let was_alone = self.in_flight.leave(&ticket);
        let report = match delivery {
            Ok(message) => {
                let bytes = message.key_len().saturating_add(message.payload_len());
                self.metrics.written(bytes);
                Ok(Written {
                    partition: message.partition(),
                    offset: message.offset().max(-1),
                    timestamp: message.timestamp().to_millis().unwrap_or(-1),
                })
            }
            Err((cause, message)) => {
                self.metrics.failed.inc();
                let of = if was_alone { error::of_alone } else { error::of };
                Err(of(cause, may_be_written(message)))
            }
        };
        self.metrics.queued.dec();
        drop(room);
        reports.settle(index, report);
    }
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        let token = self.tokens.as_ref().ok_or("the section has no tokens")?.next();
        let expires = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.saturating_add(TOKEN_FOR);
        let lifetime_ms = i64::try_from(expires.as_millis())?;
        // The name is for librdkafka only.
        Ok(OAuthToken { token, principal_name: "sluicegate".to_owned(), lifetime_ms })
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        let message = self.settings.hide(message);
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!(facility, message, "librdkafka");
            }
            // Brokers that are away, again and again, mostly.
            _ => tracing::debug!(facility, message, "librdkafka"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let reason = self.settings.hide(reason);
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::Fatal) => tracing::error!(reason, "a producer came to its end"),
            Some(RDKafkaErrorCode::SSL | RDKafkaErrorCode::Authentication) => {
                tracing::warn!(reason, "a producer cannot connect");
            }
            _ => tracing::debug!(%error, reason, "librdkafka"),
        }
    }
}

/// What librdkafka takes for a token's lifetime, so that it soon asks again: the reader knows when one has to be renewed.
const TOKEN_FOR: Duration = Duration::from_secs(5);

/// Whether a record that was not acknowledged may be in the log all the same.
fn may_be_written(message: &BorrowedMessage<'_>) -> bool {
    #[expect(unsafe_code, reason = "rdkafka has no call for it, and lends the pointer")]
    // SAFETY: the pointer is that of a delivered message, which lives as long as `message`.
    let status = unsafe { rd_kafka_message_status(message.ptr()) };
    status != rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_NOT_PERSISTED
}
