//! What a subscription asks the messaging system.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sluicegate_protocol::error_code::OFFSET_OUT_OF_RANGE;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::{Subscription, Wake};
use crate::backend::{CommandError, Fault, Fetched, Log, System};
use crate::delivery::item::Item;
use crate::delivery::subscribe::recreated;

/// An answer of the messaging system.
pub(super) enum Answer {
    /// The records that were read.
    Records(Result<Fetched, CommandError>),
    /// There are records, which are kept for all clients.
    Kept,
    /// The topic is this one.
    Topic(Result<Option<u128>, CommandError>),
    /// The new leader has this epoch, and the records up to the cursor.
    Epoch(Result<Option<i32>, CommandError>),
    /// The new leader does not have all records up to the cursor.
    Lost(CommandError),
    /// The task that asked has failed.
    Nothing,
}

impl Subscription {
    /// Asks the messaging system for what there is, while other logs are read.
    pub(super) fn look(&mut self, index: usize, max_bytes: usize) {
        let Some(cursor) = self.cursors.get(index) else { return };
        let (fetch, first, place) = (self.fetch(cursor, max_bytes), self.fetch(cursor, 1), cursor.place());
        let (cluster, client) = (Arc::clone(&self.cluster), self.subscribe.client);
        let look = async move {
            let log = Log { topic: &place.topic, partition: place.partition };
            let mut looked = cluster.backend().fetch(log, fetch, &cluster.scans(), &mut ()).await;
            if let Err(error) = &mut looked
                && error.fault == Fault::OffsetOutOfRange
                && error.ends.is_none()
            {
                error.ends = cluster.ends(client, log, false).await.ok();
            }
            // Records are left where they are kept for all clients, if they are: this client can be slow.
            match &looked {
                Ok(fetched) if fetched.count > 0 && cluster.backend().recent(log, first).is_some() => {
                    Answer::Kept
                }
                _ => Answer::Records(looked),
            }
        };
        self.ask(index, look);
    }

    /// Asks a new leader whether it has the records up to the cursor: an election can lose some, and put others in their place.
    pub(super) fn verify(&mut self, index: usize) {
        let Some(cursor) = self.cursors.get(index) else { return };
        let (cluster, client) = (Arc::clone(&self.cluster), self.subscribe.client);
        let (place, epoch) = (cursor.place(), cursor.epoch);
        let verify = async move {
            let log = Log { topic: &place.topic, partition: place.partition };
            let now = cluster.backend().version(log).leader_epoch;
            let end = cluster.backend().end_of_epoch(client, log, epoch.unwrap_or_default()).await;
            match end {
                Ok(Some(end)) if end < place.offset => {
                    let message = format!(
                        "records from offset {end} on were lost when the partition got another leader"
                    );
                    let error = CommandError::new(Fault::OffsetOutOfRange, OFFSET_OUT_OF_RANGE, message);
                    Answer::Lost(CommandError { ends: cluster.ends(client, log, false).await.ok(), ..error })
                }
                Err(error) if error.fault.is_retriable() || error.fault == Fault::NotFound => {
                    Answer::Epoch(Err(error))
                }
                // The leader does not know this epoch: the records cannot be verified.
                Ok(_) | Err(_) => Answer::Epoch(Ok(now)),
            }
        };
        self.ask(index, verify);
    }

    /// Asks whether the cursor's topic has been created again: what was known of it, or what the client knows, can be out of date.
    pub(super) fn ask_version(&mut self, index: usize) {
        let Some(cursor) = self.cursors.get(index) else { return };
        let (cluster, place) = (Arc::clone(&self.cluster), cursor.place());
        let client = self.subscribe.client;
        let ask = async move {
            let log = Log { topic: &place.topic, partition: place.partition };
            Answer::Topic(cluster.backend().ask_version(client, log).await.map(|version| version.topic_id))
        };
        self.ask(index, ask);
    }

    /// Asks on a task of its own: a request that several clients share must not wait for one of them, which is slow.
    fn ask(&mut self, index: usize, question: impl Future<Output = Answer> + Send + 'static) {
        self.asked = self.asked.saturating_add(1);
        let answer = AbortOnDropHandle::new(tokio::spawn(question));
        let mut answer = answer.map(|answer| answer.unwrap_or(Answer::Nothing)).boxed();
        let wake = async move {
            match timeout(SLOW, &mut answer).await {
                Ok(answer) => Wake::Answered(index, answer),
                Err(_) => Wake::Unanswered(index, answer),
            }
        };
        self.waits.push(wake.boxed());
    }

    /// Tells the client that the messaging system is silent, and waits on.
    pub(super) fn unanswered(&mut self, index: usize, answer: BoxFuture<'static, Answer>) {
        self.tell_outage(index, unanswered(self.cluster.system));
        self.waits.push(answer.map(move |answer| Wake::Answered(index, answer)).boxed());
    }

    pub(super) fn answered(&mut self, index: usize, answer: Answer) {
        self.asked = self.asked.saturating_sub(1);
        match answer {
            Answer::Kept => {
                self.is_kept = true;
                self.turns.push_back(index);
            }
            Answer::Records(Ok(fetched)) => self.looked(index, fetched),
            Answer::Topic(Ok(topic_id)) => match self.is_other_topic(index, topic_id) {
                true => self.end_recreated(index),
                // The records are read again once their leader is known.
                false if self.is_leader_unknown(index) => self.pause(index),
                false => self.turns.push_back(index),
            },
            Answer::Topic(Err(error)) => self.retry(index, error),
            Answer::Epoch(Ok(epoch)) => {
                if let Some(cursor) = self.cursors.get_mut(index) {
                    cursor.epoch = epoch;
                }
                self.turns.push_back(index);
            }
            Answer::Lost(error) => {
                if let Some(cursor) = self.cursors.get(index) {
                    self.items.push_back(Item::Ended { place: cursor.place(), error });
                }
            }
            Answer::Records(Err(error)) | Answer::Epoch(Err(error)) => self.fail(index, error),
            Answer::Nothing => self.pause(index),
        }
    }

    fn is_leader_unknown(&self, index: usize) -> bool {
        let cursor = self.cursors.get(index);
        cursor.is_some_and(|cursor| cursor.epoch.is_some()) && self.version(index).leader_epoch.is_none()
    }

    fn end_recreated(&mut self, index: usize) {
        if let Some(cursor) = self.cursors.get(index) {
            let error = recreated(self.cluster.system, &cursor.topic);
            self.items.push_back(Item::Ended { place: cursor.place(), error });
        }
    }

    fn looked(&mut self, index: usize, fetched: Fetched) {
        if fetched.count == 0 {
            let item = self.advance(index, fetched);
            return self.items.extend(item);
        }
        self.is_kept = false;
        self.turns.push_back(index);
        if self.spare.len() < MAX_SPARE {
            self.spare.push_back((index, fetched));
        }
    }

    /// Whether one more question is within the bounds.
    pub(super) fn may_ask(&self) -> bool {
        let unkept = self.asked.saturating_add(self.spare.len());
        if self.is_kept { self.asked < MAX_ASKED } else { unkept < MAX_SPARE }
    }
}

/// The error of a question that is not answered yet.
fn unanswered(system: System) -> CommandError {
    let fault = Fault::Unreachable { retriable: true };
    CommandError::new(fault, 0, format!("{} has not answered yet", system.name))
}

/// How long a question may take before the client is told.
const SLOW: Duration = Duration::from_millis(1_200);

/// Questions to the messaging system at the same time, while what they find is kept for all clients.
const MAX_ASKED: usize = 32;

/// Batches that a subscription keeps for itself, and questions at the same time while it has to.
const MAX_SPARE: usize = 4;
