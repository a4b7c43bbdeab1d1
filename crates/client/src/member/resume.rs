//! The subscription behind a member: the group has the places, so each one begins alike.

use std::sync::Arc;
use std::time::Duration;

use sluicegate_protocol::kafka_subscription_event::Event;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{CmdKafkaSubscribe, KafkaSubscriptionEvent};

use crate::session::Session;
use crate::subscription::{Resume, cost};
use crate::{Error, SubscribedTopic, Update};

/// A member as the server knows it.
#[derive(Debug, Clone)]
pub(super) struct Membership {
    pub(super) session: Arc<Session>,
    /// The sequence of the subscription's command.
    pub(super) subscription: i64,
    /// The server's number of the assignment, 0 if it tells none.
    pub(super) assignment: u64,
}

/// An update, and with an assignment whose it is.
#[derive(Debug)]
pub(crate) struct Told {
    pub(super) update: Update,
    pub(super) membership: Option<Membership>,
}

#[derive(Debug)]
pub(super) struct Group {
    command: CmdKafkaSubscribe,
    membership: Option<Membership>,
    /// Whether there was an assignment since it began.
    was_assigned: bool,
}

impl Group {
    pub(super) fn new(command: CmdKafkaSubscribe) -> Self {
        Self { command, membership: None, was_assigned: false }
    }
}

impl Resume for Group {
    type Update = Told;

    fn command(&self) -> Req {
        Req::CmdKafkaSubscribe(self.command.clone())
    }

    fn begin(&mut self, session: &Arc<Session>, subscription: i64) {
        self.was_assigned = false;
        self.membership = Some(Membership { session: Arc::clone(session), subscription, assignment: 0 });
    }

    fn hear(&mut self) {}

    fn read(&self, answer: Resp) -> Result<Option<Told>, Error> {
        let assignment = match &answer {
            Resp::KafkaSubscriptionEvent(KafkaSubscriptionEvent {
                event: Some(Event::Assigned(assigned)),
            }) => assigned.assignment,
            _ => 0,
        };
        let Some(update) = Update::read(answer)? else { return Ok(None) };
        let membership = match &update {
            // A server that does not know the field would give each member all messages.
            Update::Subscribed(topics) if !self.was_assigned && has_partitions(topics) => {
                return Err(Error::GroupsUnsupported);
            }
            Update::Assigned(_) => {
                self.membership.clone().map(|membership| Membership { assignment, ..membership })
            }
            _ => None,
        };
        Ok(Some(Told { update, membership }))
    }

    fn advance(&mut self, told: &Told) -> Option<u64> {
        self.was_assigned |= matches!(told.update, Update::Assigned(_));
        match &told.update {
            Update::Delivery(delivery) => Some(cost(&delivery.messages)),
            Update::CaughtUp { .. } => Some(0),
            _ => None,
        }
    }

    fn reconnecting(error: Error, pause: Duration) -> Told {
        Told { update: Update::Reconnecting { error, pause }, membership: None }
    }
}

/// Whether there are partitions that begin.
pub(super) fn has_partitions(topics: &[SubscribedTopic]) -> bool {
    topics.iter().any(|topic| !topic.partitions.is_empty())
}
