//! Sends server-sent events (the HTML standard, section 9.2) to a client as fast as it reads. The items of a subscription
//! become events as a [`Writer`] has it.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::header;
use sluicegate_delivery::drain::Drain;
use sluicegate_delivery::grant::{Grant, TermCause};
use sluicegate_delivery::{ClientKind, Item, Listed, Subscription};
use sluicegate_dialect::http::media_type::EVENT_STREAM;
use sluicegate_telemetry::metrics::SessionEnd;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::{sleep, timeout};

use super::problem::{Problem, ProblemKind};
use super::request_permits::RequestPermits;
use super::response::Response;

/// Writes what a subscription has as the text of events.
pub(super) trait Writer: Send + 'static {
    /// The text before the first event.
    fn begin(&self) -> Vec<u8>;

    /// How long the stream lasts.
    fn life(&self) -> Life {
        Life::default()
    }

    /// Whether the stream has ended.
    fn is_over(&self) -> bool;

    /// Whether records are left to write.
    fn has_records(&self) -> bool;

    /// Writes an item, or leaves its records to [`Writer::put_records`]. `behind` is the time since the client of a table
    /// had all that was in its logs.
    fn put(&mut self, text: &mut Vec<u8>, item: Item, behind: Duration);

    /// Writes records that are left: as many as a frame has room for, but one at least.
    fn put_records(&mut self, text: &mut Vec<u8>);

    /// Writes that nothing happens.
    fn put_quiet(&mut self, text: &mut Vec<u8>, behind: Duration);

    /// Writes the end of a stream whose client's grant has ended. Another one continues at the same place.
    fn end(&mut self, text: &mut Vec<u8>, cause: TermCause);
}

/// The time for which a stream lasts.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Life {
    /// A drain waits for it.
    pub(super) least: Duration,
    /// After it the client must come back; None: it can stay.
    pub(super) most: Option<Duration>,
}

/// The response with events, and the frames that become its body.
pub(super) fn response(cache_control: &str) -> (Response, Sender<Bytes>) {
    let (frames, body): (_, Receiver<Bytes>) = mpsc::channel(1);
    (Response::stream(EVENT_STREAM, body).header(header::CACHE_CONTROL, cache_control), frames)
}

/// Begins to send the events of a subscription.
///
/// # Errors
/// The client has as many streams as it can, or the audit log cannot be written.
pub(super) async fn begin(
    subscription: Subscription,
    writer: impl Writer,
    grant: &Grant,
    running: &RequestPermits,
    frames: Sender<Bytes>,
) -> Result<(), Problem> {
    if !running.stay() {
        grant.log_refused("streams");
        let detail = "bridge at capacity for open streams of this client \
                      (limits.max_sessions, over HTTP/1.1 limits.max_connections), try again";
        return Err(Problem::new(ProblemKind::Unavailable, detail));
    }
    let listed = grant.list(ClientKind::Events);
    if !grant.is_logged().await {
        grant.log_refused("audit");
        return Err(Problem::new(ProblemKind::Unavailable, "the audit log cannot be written, try again"));
    }
    tokio::spawn(run(subscription, writer, grant.clone(), listed, running.drain().clone(), frames));
    Ok(())
}

/// Sends what the subscription has, until it ends, the client leaves, its grant ends or the bridge drains. Every frame
/// has whole events. The last one says if the client's identity has expired or was revoked.
///
/// # Cancel safety
/// A drop ends the stream between two events.
pub(super) async fn run(
    subscription: Subscription,
    writer: impl Writer,
    grant: Grant,
    mut listed: Listed,
    drain: Drain,
    frames: Sender<Bytes>,
) {
    let Life { least, most } = writer.life();
    let drained = async {
        tokio::join!(drain.turn(), sleep(least));
    };
    let end = tokio::select! {
        end = send(subscription, writer, &grant, &frames) => end,
        () = lasts(most) => SessionEnd::Left.label(),
        () = frames.closed() => SessionEnd::Left.label(),
        () = drained => SessionEnd::Drained.label(),
    };
    listed.set_reason(end);
}

async fn send(
    mut subscription: Subscription,
    mut writer: impl Writer,
    grant: &Grant,
    frames: &Sender<Bytes>,
) -> &'static str {
    let mut text = writer.begin();
    while !writer.is_over() {
        // A client that does not read costs one delivery at most: nothing is read for it before it has room.
        let room = match timeout(HOLD, frames.reserve()).await {
            Ok(room) => room,
            Err(_) => {
                subscription.put_back();
                tokio::select! {
                    room = frames.reserve() => room,
                    // It learns why from its next request.
                    cause = grant.ended() => return cause.session_end().label(),
                }
            }
        };
        let Ok(room) = room else { return SessionEnd::Left.label() };
        let before = text.len();
        while text.len() == before {
            next(&mut subscription, &mut writer, grant, &mut text).await;
            // Filters can leave out all there is: others must have their turn.
            tokio::task::yield_now().await;
        }
        grant.activity().sent(text.len());
        room.send(std::mem::take(&mut text).into());
    }
    grant.ended().now_or_never().map_or(FAILED, |cause| cause.session_end().label())
}

/// Writes what comes next.
async fn next(subscription: &mut Subscription, writer: &mut impl Writer, grant: &Grant, text: &mut Vec<u8>) {
    // Before what was read already, which a client can take slowly.
    if let Some(cause) = grant.ended().now_or_never() {
        return writer.end(text, cause);
    }
    if writer.has_records() {
        return writer.put_records(text);
    }
    let ready = tokio::select! {
        // Records without a pause must not delay the end.
        biased;
        cause = grant.ended() => return writer.end(text, cause),
        ready = timeout(QUIET, subscription.ready(usize::MAX)) => ready,
    };
    let item = ready.map(|()| subscription.take());
    let behind = subscription.behind();
    match item {
        Ok(Some(item)) => writer.put(text, item, behind),
        Ok(None) => {}
        Err(_) => writer.put_quiet(text, behind),
    }
}

async fn lasts(most: Option<Duration>) {
    match most {
        Some(most) => sleep(most).await,
        None => std::future::pending().await,
    }
}

/// Why a stream ends that cannot go on: its last event tells the client.
const FAILED: &str = "failed";

/// A comment is sent after this time without an event. Gateways end silent responses after 30 to 90 s.
const QUIET: Duration = Duration::from_secs(15);

/// The time for which batches that were read beforehand are kept for a client that does not read.
const HOLD: Duration = Duration::from_secs(1);
