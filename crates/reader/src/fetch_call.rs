//! Performs the requests of a [`FetchPlan`].

use sluicegate_fair_share::{Holder, Source};
use sluicegate_shared_log::ClusterLogs;
use tokio::time::Instant;

use crate::api::{FetchAnswer, FetchPartition, FetchRequest};
use crate::attempt::{Attempt, Call};
use crate::backoff::jitter;
use crate::brokers::Brokers;
use crate::connection_error::ConnectionError;
use crate::encoder_pool::EncoderPool;
use crate::fetch::Fetched;
use crate::fetch_plan::{FetchPlan, RecordsFrom, Step, reply};
use crate::leader_call::{Recipient, leader_call};
use crate::log_version::LogVersion;
use crate::read_error::ReadError;

/// Fetches from the leader, or from the replica that it prefers. Gives the records, and the version of the log that has them.
pub(crate) async fn fetch_call(
    brokers: &Brokers,
    (logs, encoders): (&ClusterLogs, &EncoderPool),
    mut plan: FetchPlan<'_>,
    (committed, source): (bool, Source),
    deadline: Instant,
) -> Result<(Fetched, Option<LogVersion>), ReadError> {
    let holder = Holder { cluster: std::ptr::from_ref(brokers).addr(), source };
    let mut step = Step::Request(plan.request());
    loop {
        step = match step {
            Step::Request(request) => {
                let answer = call(brokers, &plan, request, (committed, source), deadline).await;
                if let Ok((answer, _)) = &answer {
                    logs.count_received(answer.records.len());
                }
                plan.next(answer)?
            }
            Step::Encode(encoding, answer) => {
                let encoded = encoders.encode(holder, encoding).await;
                plan.encoded(Instant::now(), &answer, encoded)?
            }
            Step::Done(fetched) => return Ok((fetched, plan.version())),
        };
    }
}

/// The answer to one request, and the log's version in the metadata.
async fn call(
    brokers: &Brokers,
    plan: &FetchPlan<'_>,
    from: RecordsFrom,
    (committed, source): (bool, Source),
    deadline: Instant,
) -> Result<(FetchAnswer, LogVersion), ReadError> {
    let target = plan.target();
    let max_bytes = i32::try_from(from.max_bytes).unwrap_or(i32::MAX);
    let send = |recipient: Recipient| async move {
        let partition = FetchPartition {
            topic: target.topic(),
            topic_id: recipient.call.topic_id,
            partition: target.partition(),
            leader_epoch: recipient.call.leader_epoch,
            offset: from.offset,
            max_bytes,
        };
        let Call { role, leader_epoch, topic_id, .. } = recipient.call;
        let rack = role.rack(brokers.config());
        let request = FetchRequest { partitions: vec![partition], max_bytes, max_wait: 0, committed, rack };
        let Some(answer) = recipient.send(&request).await?.pop() else {
            let address = recipient.call.address.to_string();
            return Err(ConnectionError::Protocol {
                address,
                what: "fetch without the partition".to_owned(),
            });
        };
        Ok(reply(answer, role, from.offset).map(|answer| (answer, LogVersion { topic_id, leader_epoch })))
    };
    leader_call(brokers, source, Attempt::at_nearest(target, deadline, jitter), send).await
}
