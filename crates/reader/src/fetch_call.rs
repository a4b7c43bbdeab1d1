//! Performs the requests of a [`FetchPlan`].

use tokio::time::Instant;

use crate::api::{FetchAnswer, FetchPartition, FetchRequest, TopicId};
use crate::attempt::Attempt;
use crate::backoff::jitter;
use crate::brokers::Brokers;
use crate::connection_error::ConnectionError;
use crate::fetch::Fetched;
use crate::fetch_plan::{FetchPlan, RecordsFrom, Step, reply};
use crate::leader_call::{Recipient, leader_call};
use crate::read_error::ReadError;

/// Records, and the log that they were read from.
pub(crate) struct FetchedFrom {
    pub(crate) fetched: Fetched,
    pub(crate) topic_id: Option<TopicId>,
    /// As in the metadata; −1 if unknown.
    pub(crate) leader_epoch: i32,
}

/// Fetches from the leader, or from the replica that it prefers.
pub(crate) async fn fetch_call(
    brokers: &Brokers,
    mut plan: FetchPlan<'_>,
    committed: bool,
    deadline: Instant,
) -> Result<FetchedFrom, ReadError> {
    let mut request = plan.request();
    let (mut leader_epoch, mut known_id) = (-1, None);
    loop {
        let answer = call(brokers, &plan, request, committed, deadline).await;
        let answer = answer.map(|(answer, epoch, topic_id)| {
            (leader_epoch, known_id) = (epoch, topic_id);
            answer
        });
        match plan.next(Instant::now(), answer)? {
            Step::Request(next) => request = next,
            Step::Done(fetched) => {
                // Versions of the request with names only return no id.
                let topic_id = plan.topic_id().or(known_id);
                return Ok(FetchedFrom { fetched, topic_id, leader_epoch });
            }
        }
    }
}

/// The answer to one request, and the leader epoch and topic id of the metadata.
async fn call(
    brokers: &Brokers,
    plan: &FetchPlan<'_>,
    from: RecordsFrom,
    committed: bool,
    deadline: Instant,
) -> Result<(FetchAnswer, i32, Option<TopicId>), ReadError> {
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
        let (role, epoch, topic_id) =
            (recipient.call.role, recipient.call.leader_epoch, recipient.call.topic_id);
        let rack = role.rack(brokers.config());
        let request = FetchRequest { partitions: vec![partition], max_bytes, max_wait: 0, committed, rack };
        let Some(answer) = recipient.send(&request).await?.pop() else {
            let address = recipient.call.address.to_string();
            return Err(ConnectionError::Protocol {
                address,
                what: "fetch without the partition".to_owned(),
            });
        };
        Ok(reply(answer, role, from.offset).map(|answer| (answer, epoch, topic_id)))
    };
    leader_call(brokers, Attempt::at_nearest(target, deadline, jitter), send).await
}
