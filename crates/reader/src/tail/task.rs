//! The requests of one long poll, or probes.

use std::sync::{Arc, Weak};
use std::time::Duration;

use sluicegate_shared_log::{Event, LogKey};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::long_polls::{LongPollRequest, OVERDUE};
use super::{ENCODED_AT_ONCE, Empty, TailKey, TailTask, Tails};
use crate::backoff::after;
use crate::broker::Broker;

/// Sends the requests of one long poll, or probes, until there are none.
pub(super) async fn run(tails: Weak<Tails>, broker: Arc<Broker>, key: TailKey, task: TailTask) {
    // Logs that join together share a request.
    sleep(GATHER).await;
    let mut next = Instant::now();
    loop {
        match task {
            TailTask::LongPoll(_) => sleep_until(next).await,
            TailTask::Probes => sleep(GATHER_PROBE).await,
        }
        let Some(all) = tails.upgrade() else { return };
        let Some((request, epochs)) = all.next(&key, task) else { return };
        let fetch = all.request(&key, &request, &epochs);
        all.logs.count_tail_request();
        drop(all);
        next = after(Instant::now(), request.interval);
        let call = async {
            match task {
                TailTask::LongPoll(_) => broker.call_long_poll(&fetch, request.wait).await.ok().flatten(),
                TailTask::Probes => broker.call_on_dedicated(&fetch).await.ok(),
            }
        };
        tokio::pin!(call);
        let answers = match timeout(request.wait.saturating_add(OVERDUE), &mut call).await {
            Ok(answers) => answers,
            // The broker may be frozen: callers find out, while the answer can still come.
            Err(_) => {
                notify_failure(&tails, &key, &request);
                call.await
            }
        };
        let Some(answers) = answers else {
            notify_failure(&tails, &key, &request);
            continue;
        };
        let Some(all) = tails.upgrade() else { return };
        let mut room = ENCODED_AT_ONCE;
        for ((read, epoch), answer) in request.logs.iter().zip(epochs).zip(&answers) {
            all.logs.count_received(answer.records.len());
            let (log, offset) = read;
            match all.event(key.role, read, (epoch, answer), &mut room) {
                Some(event) => all.notify(&key, log, event),
                None => {
                    let empty = Empty { request: request.number, offset: *offset, ends: answer.ends() };
                    all.note_empty(&key, log, empty);
                }
            }
        }
    }
}

fn notify_failure(tails: &Weak<Tails>, key: &TailKey, request: &LongPollRequest<LogKey>) {
    let Some(all) = tails.upgrade() else { return };
    for (log, _) in &request.logs {
        all.notify(key, log, Event::Failed);
    }
}

/// Wait of a long poll for further logs before its first request.
const GATHER: Duration = Duration::from_millis(1);

/// The same of probes: callers whose waits end within this time share one, and are answered up to that much later.
const GATHER_PROBE: Duration = Duration::from_millis(5);
