//! Sends events to a client as fast as it reads.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use sluicegate_delivery::drain::Drain;
use sluicegate_delivery::grant::Grant;
use sluicegate_delivery::{Listed, Subscription};
use sluicegate_telemetry::metrics::SessionEnd;
use tokio::sync::mpsc::Sender;
use tokio::time::timeout;

use super::event::Events;
use super::id::ago;

/// Sends what the subscription has, until it ends, the client leaves, its grant ends or the bridge drains. Every frame
/// has whole events. The last one says if the client's identity has expired or was revoked.
///
/// # Cancel safety
/// A drop ends the stream between two events.
pub(super) async fn run(
    subscription: Subscription,
    events: Events,
    grant: Grant,
    mut listed: Listed,
    drain: Drain,
    frames: Sender<Bytes>,
) {
    let end = tokio::select! {
        end = send(subscription, events, &grant, &frames) => end,
        () = frames.closed() => SessionEnd::Left.label(),
        () = drain.turn() => SessionEnd::Drained.label(),
    };
    listed.set_reason(end);
}

async fn send(
    mut subscription: Subscription,
    mut events: Events,
    grant: &Grant,
    frames: &Sender<Bytes>,
) -> &'static str {
    let mut text = format!("retry: {}\n", fastrand::u64(RETRY_MS)).into_bytes();
    while !events.is_over {
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
            next(&mut subscription, &mut events, grant, &mut text).await;
            // Filters can leave out all there is: others must have their turn.
            tokio::task::yield_now().await;
        }
        grant.activity().sent(text.len());
        room.send(std::mem::take(&mut text).into());
    }
    grant.ended().now_or_never().map_or(FAILED, |cause| cause.session_end().label())
}

/// Writes what comes next.
async fn next(subscription: &mut Subscription, events: &mut Events, grant: &Grant, text: &mut Vec<u8>) {
    // Before what was read already, which a client can take slowly.
    if let Some(cause) = grant.ended().now_or_never() {
        return events.end(text, cause);
    }
    if events.has_records() {
        return events.put_records(text);
    }
    let ready = tokio::select! {
        // Records without a pause must not delay the end.
        biased;
        cause = grant.ended() => return events.end(text, cause),
        ready = timeout(QUIET, subscription.ready(usize::MAX)) => ready,
    };
    let item = ready.map(|()| subscription.take());
    events.current_at = ago(subscription.behind());
    match item {
        Ok(Some(item)) => events.put(text, item),
        Ok(None) => {}
        Err(_) => events.put_comment(text),
    }
}

/// Why a stream ends that cannot go on: its last event tells the client.
const FAILED: &str = "failed";

/// A comment is sent after this time without an event. Gateways end silent responses after 30 to 90 s.
const QUIET: Duration = Duration::from_secs(15);

/// The time before a browser reconnects, in milliseconds. Streams that end together do not come back together.
const RETRY_MS: std::ops::RangeInclusive<u64> = 1000..=3000;

/// The time for which batches that were read beforehand are kept for a client that does not read.
const HOLD: Duration = Duration::from_secs(1);
