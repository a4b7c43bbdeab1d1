//! What a subscription asks the messaging system.

use std::sync::Arc;

use futures_util::FutureExt;
use sluicegate_protocol::error_code::OFFSET_OUT_OF_RANGE;
use tokio_util::task::AbortOnDropHandle;

use super::{Subscription, Wake};
use crate::backend::{CommandError, Fault, Fetched, Log};
use crate::delivery::item::Item;

/// An answer of the messaging system.
pub(super) enum Answer {
    /// What there was to read.
    Records(Result<Fetched, CommandError>),
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
        let (fetch, place) = (self.fetch(cursor, max_bytes), cursor.place());
        let cluster = Arc::clone(&self.cluster);
        let look = async move {
            let log = Log { topic: &place.topic, partition: place.partition };
            let mut looked = cluster.backend().fetch(log, fetch, &mut ()).await;
            if let Err(error) = &mut looked
                && error.fault == Fault::OffsetOutOfRange
            {
                error.ends = cluster.ends(log, false).await.ok();
            }
            Answer::Records(looked)
        };
        self.ask(index, look);
    }

    /// Asks a new leader whether it has the records up to the cursor: an election can lose some, and put others in their place.
    pub(super) fn verify(&mut self, index: usize) {
        let Some(cursor) = self.cursors.get(index) else { return };
        let (cluster, place, epoch) = (Arc::clone(&self.cluster), cursor.place(), cursor.epoch);
        let verify = async move {
            let log = Log { topic: &place.topic, partition: place.partition };
            let now = cluster.backend().version(log).leader_epoch;
            let end = cluster.backend().end_of_epoch(log, epoch.unwrap_or_default()).await;
            match end {
                Ok(Some(end)) if end < place.offset => {
                    let message = format!(
                        "records from offset {end} on were lost when the partition got another leader"
                    );
                    let error = CommandError::new(Fault::OffsetOutOfRange, OFFSET_OUT_OF_RANGE, message);
                    Answer::Lost(CommandError { ends: cluster.ends(log, false).await.ok(), ..error })
                }
                Err(error) if error.fault.is_retriable() || error.fault == Fault::NotFound => {
                    Answer::Epoch(Err(error))
                }
                // If the leader cannot tell, nobody can.
                Ok(_) | Err(_) => Answer::Epoch(Ok(now)),
            }
        };
        self.ask(index, verify);
    }

    /// Asks on a task of its own: a request that several clients share must not wait for one of them, which is slow.
    fn ask(&mut self, index: usize, question: impl Future<Output = Answer> + Send + 'static) {
        self.asked = self.asked.saturating_add(1);
        let answer = AbortOnDropHandle::new(tokio::spawn(question));
        self.waits.push(
            answer.map(move |answer| Wake::Answered(index, answer.unwrap_or(Answer::Nothing))).boxed(),
        );
    }

    pub(super) fn answered(&mut self, index: usize, answer: Answer) {
        self.asked = self.asked.saturating_sub(1);
        self.turns.extend(self.unasked.pop_front());
        match answer {
            Answer::Records(Ok(fetched)) => self.looked(index, fetched),
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
            Answer::Nothing => self.turns.push_back(index),
        }
    }

    /// Notes what a look has found. Records are left where they are kept for all clients, if they are.
    fn looked(&mut self, index: usize, fetched: Fetched) {
        let Some(cursor) = self.cursors.get(index) else { return };
        if fetched.count == 0 {
            let item = self.advance(index, fetched);
            return self.items.extend(item);
        }
        self.turns.push_back(index);
        let is_kept = self.cluster.backend().recent(cursor.log(), self.fetch(cursor, 1)).is_some();
        if !is_kept && self.spare.len() < MAX_SPARE {
            self.spare.push_back((index, fetched));
        }
    }
}

/// Questions to the messaging system at the same time. What they find can wait for the client.
pub(super) const MAX_ASKED: usize = 32;

/// Batches that a subscription keeps for itself.
const MAX_SPARE: usize = 4;
