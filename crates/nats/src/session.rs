//! One connection to a server, and the answers that are expected on it.

mod publisher;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_nats::header::HeaderName;
use async_nats::message::OutboundMessage;
use async_nats::{
    ConnectError, ConnectErrorKind, Event, HeaderMap, Message, PublishErrorKind, ServerAddr, ServerError,
    StatusCode, Subject,
};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use parking_lot::Mutex;
use sluicegate_telemetry::rate_limit::RateLimit;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

pub(super) use self::publisher::Acknowledgements;
use super::cluster_config::ClusterConfig;
use super::error::{ReadError, printable};
use super::wire::{Dialer, Events, Wire};

/// A connection. It ends when the connection is lost, and with its last owner.
///
/// Requests are answered on one subscription, since servers tell each other of every subscription. async-nats' own
/// requests have one answer each, and keep an entry for each answer that never comes.
pub(super) struct Session {
    wire: Box<dyn Wire>,
    /// Prefix of the subjects for answers.
    inbox: String,
    link: Arc<Link>,
    /// One for each answer that is expected: async-nats drops what does not fit into a subscription's queue.
    places: Arc<Semaphore>,
    _delivery: AbortOnDropHandle<()>,
}

/// The state that the tasks of async-nats share with callers.
#[derive(Default)]
struct Link {
    lost: CancellationToken,
    /// Ordered, so that a simulated run repeats itself.
    waiting: Mutex<BTreeMap<u64, Waiting>>,
    warnings: RateLimit,
}

/// A request that was not answered completely yet.
struct Waiting {
    /// The place of a message among those of its command; 0 for other requests.
    index: usize,
    subject: Subject,
    answers: mpsc::UnboundedSender<(usize, Answer)>,
    _places: OwnedSemaphorePermit,
}

/// A response to a request: an answer, or the news that there will be none.
pub(super) type Answer = Result<Message, ReadError>;

/// The answers to a request. Dropping it ends the wait for more.
pub(super) struct Answers {
    link: Arc<Link>,
    number: u64,
    subject: String,
    answers: mpsc::UnboundedReceiver<(usize, Answer)>,
}

impl Session {
    /// Connects to one of the servers, each of which is tried once.
    pub(super) async fn open(
        dialer: &dyn Dialer,
        config: &ClusterConfig,
        servers: &[ServerAddr],
    ) -> Result<Self, ConnectError> {
        let link = Arc::<Link>::default();
        let noticing = Arc::clone(&link);
        let events: Events = Arc::new(move |event| noticing.notice(event));
        let wire = dialer.dial(config, servers, events).await?;
        let inbox = format!("{}.", wire.new_inbox());
        let failed = |error| ConnectError::with_source(ConnectErrorKind::Io, error);
        let answers = wire.subscribe(format!("{inbox}*")).await.map_err(failed)?;
        let delivery = tokio::spawn(deliver(Arc::clone(&link), answers, inbox.len()));
        let places = Arc::new(Semaphore::new(MAX_EXPECTED as usize));
        Ok(Self { wire, inbox, link, places, _delivery: AbortOnDropHandle::new(delivery) })
    }

    pub(super) fn is_lost(&self) -> bool {
        self.link.lost.is_cancelled()
    }

    /// Ready when the connection is lost.
    pub(super) async fn lost(&self) {
        self.link.lost.cancelled().await;
    }

    /// The servers that this server has announced to its clients.
    pub(super) fn announced_servers(&self) -> impl Iterator<Item = ServerAddr> + use<> {
        self.wire.server().connect_urls.into_iter().filter_map(|url| url.parse().ok())
    }

    /// The server's version, as it says.
    pub(super) fn server_version(&self) -> String {
        printable(&self.wire.server().version)
    }

    /// The largest message that the server accepts, in bytes.
    pub(super) fn max_payload(&self) -> usize {
        self.wire.max_payload()
    }

    /// Sends a request that has at most `expected` answers, up to [`MAX_EXPECTED`].
    pub(super) async fn request(
        &self,
        subject: &str,
        payload: Bytes,
        expected: u32,
        deadline: Instant,
    ) -> Result<Answers, ReadError> {
        let (answers, reply) = self.expect(subject, expected, deadline).await?;
        self.publish(subject, Some(reply), payload, None).await?;
        Ok(answers)
    }

    /// Lets servers tell what they would do with a message to this subject, which they deliver to nobody (ADR-41 of
    /// NATS). Each server that it passes answers. `None`: the server would deliver it.
    pub(super) async fn trace(&self, subject: &str, deadline: Instant) -> Result<Option<Answers>, ReadError> {
        let version = self.wire.server().version;
        let mut numbers = version.split('.').map(|number| number.parse::<u32>().unwrap_or_default());
        if (numbers.next(), numbers.next()) < (Some(2), Some(11)) {
            return Ok(None);
        }
        let (answers, reply) = self.expect(subject, 1, deadline).await?;
        let headers = [(&TRACE_DEST, reply), (&TRACE_ONLY, "true".to_owned())];
        let headers =
            headers.into_iter().filter_map(|(name, value)| Some((name.clone(), value.parse().ok()?)));
        self.publish(subject, None, Bytes::new(), Some(headers.collect())).await?;
        Ok(Some(answers))
    }

    /// Prepares for answers: where they are delivered, and the subject that they come to.
    async fn expect(
        &self,
        subject: &str,
        expected: u32,
        deadline: Instant,
    ) -> Result<(Answers, String), ReadError> {
        let places = Arc::clone(&self.places).acquire_many_owned(expected.min(MAX_EXPECTED));
        let places = timeout_at(deadline, self.link.lost.run_until_cancelled(places)).await;
        let places = places.map_err(|_| ReadError::Unanswered { subject: subject.to_owned() })?;
        let places = places.and_then(Result::ok).ok_or(ReadError::Lost)?;
        let (sender, receiver) = mpsc::unbounded_channel();
        let number = self.unguessable()?;
        let subject = subject.to_owned();
        let waiting =
            Waiting { index: 0, subject: subject.as_str().into(), answers: sender, _places: places };
        self.link.waiting.lock().insert(number, waiting);
        let answers = Answers { link: Arc::clone(&self.link), number, subject, answers: receiver };
        Ok((answers, format!("{}{number}", self.inbox)))
    }

    /// Sends a message whose answers come to the subject `reply`.
    pub(super) async fn publish(
        &self,
        subject: &str,
        reply: Option<String>,
        payload: Bytes,
        headers: Option<HeaderMap>,
    ) -> Result<(), ReadError> {
        // Losses before this are not noticed by the calls that wait.
        let (to, reply) = (Subject::from(subject), reply.map(Subject::from));
        let publish = self.wire.publish(OutboundMessage { subject: to, reply, payload, headers });
        match self.link.lost.run_until_cancelled(publish).await {
            Some(Ok(())) if !self.is_lost() => Ok(()),
            Some(Ok(())) | None => Err(ReadError::Lost),
            // Its task has ended.
            Some(Err(error)) if error.kind() == PublishErrorKind::Send => Err(ReadError::Lost),
            Some(Err(_)) => {
                Err(ReadError::Malformed { subject: subject.to_owned(), what: "request not sent" })
            }
        }
    }

    /// A subject of its own for many messages, and what arrives there. A queue that is full loses messages.
    pub(super) async fn subscribe(&self) -> Result<(String, BoxStream<'static, Message>), ReadError> {
        let subject = self.wire.new_inbox();
        let subscribe = self.wire.subscribe(subject.clone());
        match self.link.lost.run_until_cancelled(subscribe).await {
            Some(Ok(messages)) => Ok((subject, messages)),
            Some(Err(_)) | None => Err(ReadError::Lost),
        }
    }

    /// The last part of a subject for answers. Subscribers see that of each message they receive, and must not guess
    /// those of others.
    fn unguessable(&self) -> Result<u64, ReadError> {
        self.wire.unguessable().ok_or(ReadError::Lost)
    }
}

impl Link {
    fn notice(&self, event: &Event) {
        match event {
            Event::Disconnected | Event::Closed => self.end(),
            Event::ServerError(ServerError::Other(text)) => {
                let Some(denied) = denied_subject(text) else { return self.warn(text) };
                // The subject of a trace's answer is denied instead of the traced one.
                let answered = denied.rsplit_once('.').and_then(|(_, number)| number.parse::<u64>().ok());
                for (number, waiting) in &*self.waiting.lock() {
                    if waiting.subject.as_str() == denied || answered == Some(*number) {
                        let error = ReadError::Denied { subject: denied.to_owned() };
                        // Nobody waits any more.
                        let _ = waiting.answers.send((waiting.index, Err(error)));
                    }
                }
            }
            Event::ServerError(error) => self.warn(&error.to_string()),
            _ => {}
        }
    }

    /// Logs what no caller learns, such as that the inbox cannot be subscribed to.
    fn warn(&self, error: &str) {
        if self.warnings.is_due("server") {
            tracing::warn!(error, event = "nats_server_error", "a NATS server reported an error");
        }
    }

    fn end(&self) {
        self.lost.cancel();
        // Their callers see the end of the answers.
        self.waiting.lock().clear();
    }
}

impl Answers {
    /// The next answer.
    pub(super) async fn next(&mut self, deadline: Instant) -> Result<Message, ReadError> {
        let unanswered = || ReadError::Unanswered { subject: self.subject.clone() };
        match timeout_at(deadline, self.answers.recv()).await {
            Ok(Some((_, Ok(message)))) if message.status == Some(StatusCode::NO_RESPONDERS) => {
                Err(unanswered())
            }
            Ok(Some((_, answer))) => answer,
            Ok(None) => Err(ReadError::Lost),
            Err(_) => Err(unanswered()),
        }
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.link.waiting.lock().remove(&self.number);
    }
}

/// Hands answers to those who wait for them.
async fn deliver(link: Arc<Link>, mut answers: BoxStream<'static, Message>, prefix: usize) {
    while let Some(message) = answers.next().await {
        let Some(number) = message.subject.get(prefix..).and_then(|number| number.parse().ok()) else {
            continue;
        };
        if let Some(waiting) = link.waiting.lock().get(&number) {
            // Nobody waits any more.
            let _ = waiting.answers.send((waiting.index, Ok(message)));
        }
    }
    // async-nats drops events that come too fast: this may be all that tells that the connection has ended.
    link.end();
}

/// The subject that the server does not let us publish to. There is no other answer to such a request.
fn denied_subject(error: &str) -> Option<&str> {
    error.strip_prefix("Permissions Violation for Publish to \"")?.strip_suffix('"')
}

static TRACE_DEST: HeaderName = HeaderName::from_static("Nats-Trace-Dest");
static TRACE_ONLY: HeaderName = HeaderName::from_static("Nats-Trace-Only");

/// Answers that are expected at the same time: fewer than a subscription's queue has places in async-nats.
pub(super) const MAX_EXPECTED: u32 = 60_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn denied_subject_is_recognized() {
        let denied = denied_subject("Permissions Violation for Publish to \"$JS.API.STREAM.INFO.a\"");
        assert_eq!(denied, Some("$JS.API.STREAM.INFO.a"));
        for other in
            ["", "Permissions Violation for Subscription to \"a\"", "Permissions Violation for Publish to \""]
        {
            assert_eq!(denied_subject(other), None, "{other}");
        }
    }
}
