//! librdkafka's idempotent producer: records in, delivery reports out.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use rdkafka::bindings::{rd_kafka_flush, rd_kafka_message_status, rd_kafka_msg_status_t};
use rdkafka::client::OAuthToken;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext, PurgeConfig};
use rdkafka::{ClientContext, Message as _};
use sluicegate_backend::Written;
use sluicegate_backend::command::Record;
use sluicegate_backend::delivery_reports::DeliveryReports;
use sluicegate_backend::write_queue::QueuePermit;
use sluicegate_telemetry::metrics::WriteMetrics;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::super::settings::Settings;
use super::ages::{Ages, Queued};
use super::error::{self, WriteError};
use super::in_flight::{InFlight, Ticket};
use super::suspects::Suspects;

/// The settings of a producer, and who is told of its records.
#[derive(Clone)]
pub(super) struct Parts {
    pub(super) settings: Settings,
    pub(super) metrics: WriteMetrics,
    /// The clients whose records it could not write because the broker rejected them.
    pub(super) suspects: Arc<Suspects>,
}

/// A producer and its thread for delivery reports. A drop fails the records it holds, and blocks: for up to a second, and
/// until librdkafka's threads have ended.
pub(super) struct Producer {
    producer: Arc<BaseProducer<Context>>,
    is_over: Arc<AtomicBool>,
    reports: Option<JoinHandle<()>>,
}

/// The destination of a record's delivery report.
pub(super) struct ReportTarget {
    pub(super) reports: Arc<DeliveryReports<WriteError>>,
    pub(super) index: usize,
    /// The record's room in the queue.
    pub(super) permit: QueuePermit,
    /// Closes once the record has its report.
    pub(super) settled: Option<oneshot::Sender<Infallible>>,
}

/// A record in the queue.
struct QueuedRecord {
    target: ReportTarget,
    ticket: Ticket,
    age: Queued,
    queued: Instant,
}

impl Producer {
    /// Creates a producer, which does not connect yet. Blocks while certificate and key files are read.
    pub(super) fn new(parts: Parts, tokens: Option<Tokens>) -> KafkaResult<Self> {
        let mut config = parts.settings.config();
        // Unlimited: `report` gives up instead.
        config.remove("delivery.timeout.ms");
        config.set("message.timeout.ms", "0");
        let context = Context {
            parts,
            in_flight: InFlight::default(),
            ages: Ages::new(Instant::now()),
            is_late: AtomicBool::new(false),
            settled: CancellationToken::new(),
            tokens,
        };
        let producer = Arc::new(BaseProducer::from_config_and_context(&config, context)?);
        let is_over = Arc::new(AtomicBool::new(false));
        let (polled, ended) = (Arc::clone(&producer), Arc::clone(&is_over));
        let poll = move || report(&polled, &ended);
        let reports = thread::Builder::new().name("delivery reports".to_owned()).spawn(poll);
        let reports = reports.map_err(|error| KafkaError::ClientCreation(error.to_string()))?;
        Ok(Self { producer, is_over, reports: Some(reports) })
    }

    /// Queues a record without waiting. After an error, its report is still missing.
    pub(super) fn send(&self, record: &Record, target: ReportTarget) -> Result<(), KafkaError> {
        let context = self.producer.context();
        context.parts.metrics.queued.inc();
        let queued = Instant::now();
        let (ticket, age) = (context.in_flight.enter(), context.ages.enter(queued));
        let sent = QueuedRecord { target, ticket, age, queued };
        let mut base = BaseRecord::<[u8], [u8], _>::with_opaque_to(&record.topic, Box::new(sent));
        base.partition = record.partition.filter(|partition| *partition >= 0);
        base.key = record.key.as_deref();
        base.payload = record.value.as_deref();
        base.timestamp = timestamp(record);
        if !record.headers.is_empty() {
            let empty = OwnedHeaders::new_with_capacity(record.headers.len());
            let insert = |headers: OwnedHeaders, header: &sluicegate_backend::command::Header| {
                headers.insert(Header { key: &header.key, value: header.value.as_deref() })
            };
            base.headers = Some(record.headers.iter().fold(empty, insert));
        }
        self.producer.send(base).map_err(|(error, base)| {
            context.in_flight.revoke();
            context.ages.leave(&base.delivery_opaque.age);
            context.parts.metrics.queued.dec();
            error
        })
    }

    /// Whether it takes records: it has no fatal error, and none of its records waits for too long.
    pub(super) fn works(&self) -> bool {
        !self.producer.context().is_late.load(Ordering::Relaxed) && self.end().is_none()
    }

    /// Cancelled once each record has its report, if one of them waits for too long: a record of the next producer could
    /// overtake those without.
    pub(super) fn settled(&self) -> Option<CancellationToken> {
        let context = self.producer.context();
        context.is_late.load(Ordering::Relaxed).then(|| context.settled.clone())
    }

    /// The fatal error of the producer, after which it must be replaced.
    pub(super) fn end(&self) -> Option<KafkaError> {
        self.producer.client().fatal_error().map(|(cause, _)| KafkaError::MessageProduction(cause))
    }

    /// Blocks until the queue is empty or the time is over. Returns the number of records left.
    #[expect(unsafe_code, reason = "rdkafka's own flush passes no timeout on")]
    pub(super) fn flush(&self, within: Duration) -> i32 {
        let within = i32::try_from(within.as_millis()).unwrap_or(i32::MAX);
        // rdkafka's own `flush` calls librdkafka with a timeout of zero, again and again: a broker that connects
        // between two calls would wait for `linger.ms`. The producer's thread handles delivery reports meanwhile. The
        // result is not needed: the count of records left says as much.
        // SAFETY: the client lives as long as `self`.
        let _ = unsafe { rd_kafka_flush(self.producer.client().native_ptr(), within) };
        self.producer.in_flight_count()
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // It ends with a panic only if a report's receiver did, which has told it.
        let _ = self.reports.take().map(JoinHandle::join);
    }
}

/// Handles delivery reports until the producer is dropped. Once a record has had none for `message.timeout.ms`, gives up on
/// all of them, except those that brokers acknowledge in a little while.
///
/// If librdkafka itself lets a record time out, it goes on in a new epoch, in which brokers do not know what it repeats:
/// records that they have but could not acknowledge yet are written twice
/// (<https://github.com/confluentinc/librdkafka/issues/4953>).
fn report(producer: &BaseProducer<Context>, is_over: &AtomicBool) {
    let context = producer.context();
    // Even if a report's receiver panics.
    let _settled = context.settled.clone().drop_guard();
    let limit = context.parts.settings.timeout;
    let mut late = None;
    while !is_over.load(Ordering::Relaxed) {
        let is_settling = late.is_some() && !context.settled.is_cancelled();
        producer.poll(if is_settling { PURGE_INTERVAL } else { POLL });
        let now = Instant::now();
        let purge = PurgeConfig::default().queue().non_blocking();
        match late.map(|since| now.saturating_duration_since(since)) {
            None if context.ages.exceed(limit, now) => {
                context.is_late.store(true, Ordering::Relaxed);
                tracing::warn!(
                    event = "producer_late",
                    "records were not acknowledged in time, the producer is replaced"
                );
                late = Some(now);
            }
            None => {}
            Some(_) if context.ages.is_empty() => context.settled.cancel(),
            Some(waited) if waited > GRACE.saturating_mul(2) => producer.purge(purge.inflight()),
            // A record between two attempts is not written. An attempt in flight may be answered until then.
            Some(waited) if waited > GRACE => producer.purge(purge),
            Some(_) => {}
        }
    }
}

/// The time that all records have for their reports after one is late, and that attempts in flight have after that.
const GRACE: Duration = Duration::from_secs(1);
/// Time between two purges.
const PURGE_INTERVAL: Duration = Duration::from_millis(50);

/// The longest time that the thread for delivery reports needs to see that it is over. Reports do not wait for it. In the
/// last millisecond of it, `poll` asks without a pause: rdkafka's own thread, which polls for 100 ms, takes one hundredth
/// of a core of an idle producer.
const POLL: Duration = Duration::from_millis(500);

/// The record's timestamp. librdkafka takes 0 for the current time, so the next millisecond stands for it.
fn timestamp(record: &Record) -> Option<i64> {
    record.timestamp.filter(|timestamp| *timestamp >= 0).map(|timestamp| timestamp.max(1))
}

struct Context {
    parts: Parts,
    in_flight: InFlight,
    ages: Ages,
    /// Whether a record has waited for too long.
    is_late: AtomicBool,
    /// Cancelled once each record has its report after that.
    settled: CancellationToken,
    tokens: Option<Tokens>,
}

/// The token for brokers. librdkafka asks for it on the thread for delivery reports, which must not wait.
pub(super) struct Tokens {
    reader: sluicegate_reader::Config,
    runtime: Handle,
    /// The last token obtained.
    last: Arc<Mutex<String>>,
}

impl Tokens {
    /// Obtains the first token.
    pub(super) async fn first(reader: sluicegate_reader::Config) -> Result<Self, String> {
        let last = Arc::new(Mutex::new(reader.token().await?));
        Ok(Self { reader, runtime: Handle::current(), last })
    }

    /// Returns the last token, and obtains the next in the background.
    fn next(&self) -> String {
        let (reader, last) = (self.reader.clone(), Arc::clone(&self.last));
        self.runtime.spawn(async move {
            match reader.token().await {
                Ok(token) => *last.lock() = token,
                Err(reason) => tracing::warn!(
                    reason,
                    event = "producer_token_missing",
                    "failed to obtain a new token for a producer"
                ),
            }
        });
        self.last.lock().clone()
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<QueuedRecord>;

    fn delivery(&self, delivery: &DeliveryResult<'_>, sent: Box<QueuedRecord>) {
        let QueuedRecord { target, ticket, age, queued } = *sent;
        let ReportTarget { reports, index, permit, settled } = target;
        let was_alone = self.in_flight.leave(&ticket);
        let report = match delivery {
            Ok(message) => {
                let bytes = message.key_len().saturating_add(message.payload_len());
                self.parts.metrics.written(bytes, queued.elapsed());
                Ok(Written {
                    partition: message.partition(),
                    offset: message.offset().max(-1),
                    timestamp: message.timestamp().to_millis().unwrap_or(-1),
                    ..Written::default()
                })
            }
            Err((cause, message)) => {
                let late = KafkaError::MessageProduction(RDKafkaErrorCode::MessageTimedOut);
                let cause = if self.is_late.load(Ordering::Relaxed) && error::is_purged(cause) {
                    &late
                } else {
                    cause
                };
                if error::can_be_cause(cause) {
                    self.parts.suspects.add(permit.source());
                }
                let of = if was_alone { error::of_alone } else { error::of };
                let error = of(cause, may_be_written(message));
                self.parts.metrics.failed(error.failure());
                Err(error)
            }
        };
        self.parts.metrics.queued.dec();
        drop(permit);
        reports.settle(index, report);
        drop(settled);
        self.ages.leave(&age);
    }
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        let token = self.tokens.as_ref().ok_or("the cluster has no tokens")?.next();
        let expires = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.saturating_add(TOKEN_FOR);
        let lifetime_ms = i64::try_from(expires.as_millis())?;
        // The principal name is for librdkafka only.
        Ok(OAuthToken { token, principal_name: "sluicegate".to_owned(), lifetime_ms })
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        let message = self.parts.settings.redact(message);
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!(facility, text = message, event = "librdkafka", "librdkafka");
            }
            // Mostly unreachable brokers, repeated.
            _ => tracing::debug!(facility, text = message, event = "librdkafka", "librdkafka"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let reason = self.parts.settings.redact(reason);
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::Fatal) => {
                tracing::error!(reason, event = "producer_failed", "producer failed, it will be replaced")
            }
            Some(RDKafkaErrorCode::SSL | RDKafkaErrorCode::Authentication) => {
                tracing::warn!(reason, event = "producer_not_connected", "producer failed to connect");
            }
            _ => tracing::debug!(%error, reason, event = "librdkafka", "librdkafka"),
        }
    }
}

/// The lifetime of tokens for librdkafka. Short, so that it asks again soon: the reader knows when to renew a token.
const TOKEN_FOR: Duration = Duration::from_secs(5);

/// Whether a record that was not acknowledged can be in the log.
fn may_be_written(message: &BorrowedMessage<'_>) -> bool {
    #[expect(unsafe_code, reason = "rdkafka does not wrap this call, but lends the pointer")]
    // SAFETY: the pointer is a delivered message's, which lives as long as `message`.
    let status = unsafe { rd_kafka_message_status(message.ptr()) };
    status != rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_NOT_PERSISTED
}
