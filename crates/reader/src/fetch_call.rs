//! Performs the requests of a [`FetchPlan`].

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::api::{FetchAnswer, FetchRequest};
use crate::attempt::{Attempt, Role};
use crate::backoff::jitter;
use crate::brokers::Brokers;
use crate::fetch::Fetched;
use crate::fetch_plan::{FetchPlan, RecordsFrom, Step, reply};
use crate::leader_call::{Recipient, leader_call};
use crate::read_error::ReadError;

/// Fetches from the leader, or from the replica that it prefers.
pub(crate) async fn fetch_call(
    brokers: &Brokers,
    mut plan: FetchPlan<'_>,
    at_end: bool,
    deadline: Instant,
) -> Result<Fetched, ReadError> {
    let mut request = plan.first(at_end, Instant::now());
    loop {
        let answer = call(brokers, &plan, request, deadline).await;
        match plan.next(Instant::now(), answer)? {
            Step::Request(next) => request = next,
            Step::Done(fetched) => return Ok(fetched),
        }
    }
}

async fn call(
    brokers: &Brokers,
    plan: &FetchPlan<'_>,
    from: RecordsFrom,
    deadline: Instant,
) -> Result<FetchAnswer, ReadError> {
    let target = plan.target();
    let request = |recipient: &Recipient, wait: Duration| FetchRequest {
        topic: target.topic(),
        topic_id: recipient.call.topic_id,
        partition: target.partition(),
        leader_epoch: recipient.call.leader_epoch,
        offset: from.offset,
        max_bytes: i32::try_from(from.max_bytes).unwrap_or(i32::MAX),
        max_wait: i32::try_from(wait.as_millis()).unwrap_or(i32::MAX),
        rack: (recipient.call.role != Role::LeaderOnly).then(|| brokers.config().rack.clone()),
    };
    let send = |recipient: Recipient| async move {
        let role = recipient.call.role;
        if from.waits {
            let wait = plan.wait_left(Instant::now());
            let polled = recipient.broker.call_long_poll(&request(&recipient, wait), wait).await?;
            if let Some(answer) = polled {
                return Ok(reply(answer, role, from.offset));
            }
            // The broker cannot hold the request: look again a little later.
            sleep(wait.min(POLL)).await;
        }
        let answer = recipient.send(&request(&recipient, Duration::ZERO)).await?;
        Ok(reply(answer, role, from.offset))
    };
    leader_call(brokers, Attempt::at_nearest(target, deadline, jitter), send).await
}

/// The interval between looks at the log of a fetch that no connection is free to wait on.
const POLL: Duration = Duration::from_millis(100);
