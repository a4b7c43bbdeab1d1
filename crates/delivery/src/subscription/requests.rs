//! Questions to the messaging system, and waits at the ends of logs.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sluicegate_backend::{Fetch, Log};
use sluicegate_fair_share::ClientKey;
use sluicegate_shared_log::SeenEnds;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use super::{Subscription, Wake, moment};
use crate::cluster::Cluster;
use crate::cursor::{Answer, Event, Question, SLOW};
use crate::item::Place;
use crate::subscribe::Subscribe;

impl Subscription {
    /// Asks on a task of its own: a request that several clients share must not wait for one of them, which is slow.
    pub(super) fn ask(&self, index: usize, question: Question) {
        let Some(cursor) = self.cursors.all().get(index) else { return };
        let (cluster, place) = (Arc::clone(&self.cluster), cursor.place());
        let Subscribe { client, committed, .. } = self.cursors.client.request;
        let asked = AbortOnDropHandle::new(tokio::spawn(async move {
            answer(&cluster, (client, committed), &place, question).await
        }));
        let mut answered: BoxFuture<'static, Wake> =
            asked.map(move |answer| Wake::Answered(index, answer.unwrap_or(Answer::Nothing))).boxed();
        let slow = moment().after(SLOW);
        let wait = async move {
            match timeout_at(slow, &mut answered).await {
                Ok(wake) => wake,
                Err(_) => Wake::Unanswered(index, answered),
            }
        };
        self.waits.push(wait.boxed());
    }

    pub(super) fn wait_at_end(&self, index: usize, until: Option<Instant>, seen: SeenEnds) {
        let Some(cursor) = self.cursors.all().get(index) else { return };
        let (cluster, place) = (Arc::clone(&self.cluster), cursor.place());
        let Subscribe { committed, linger, .. } = self.cursors.client.request;
        // Only a cursor that lingers needs the known end.
        let lingers = !linger.is_zero();
        let wait = async move {
            let log = Log { topic: &place.topic, partition: place.partition };
            let ends = cluster.wait_for_records(log, place.offset, committed, until, seen).await;
            let known_end = || lingers.then(|| cluster.backend().known_end(log)).flatten();
            let event = match ends {
                Some(ends) => Event::StillAtEnd { start: ends.start, end: ends.end },
                None => Event::Woken { end: known_end() },
            };
            Wake::Cursor(index, event)
        };
        self.waits.push(wait.boxed());
    }
}

async fn answer(
    cluster: &Cluster,
    (client, committed): (ClientKey, bool),
    place: &Place,
    question: Question,
) -> Answer {
    let log = Log { topic: &place.topic, partition: place.partition };
    let backend = cluster.backend();
    match question {
        Question::Records(fetch) => {
            let read = backend.fetch(log, fetch, &cluster.scans(), &mut ()).await;
            // Records that are kept for all clients are left there: this client can be slow.
            let first = Fetch { max_bytes: 1, ..fetch };
            match &read {
                Ok(read) if read.count > 0 && backend.recent(log, first).is_some() => Answer::Kept,
                _ => Answer::Records(read),
            }
        }
        Question::Begin(later) => Answer::Begin(later.find((cluster, client), log, committed).await),
        Question::EndOfEpoch { epoch, .. } => {
            Answer::EndOfEpoch(backend.end_of_epoch(client, log, epoch).await)
        }
        Question::TopicId => {
            Answer::TopicId(backend.ask_version(client, log).await.map(|version| version.topic_id))
        }
        Question::TombstoneLife => Answer::TombstoneLife(cluster.tombstone_life(client, &place.topic).await),
        Question::Ends(mut error) => {
            error.ends = match cluster.ends(client, log, false).await {
                // Without them, nobody knows yet whether the records are gone.
                Err(unknown) if unknown.fault.is_retriable() => return Answer::TopicId(Err(unknown)),
                ends => ends.ok(),
            };
            // The error and the ends can be about another topic of this name, which the version tells then.
            match backend.ask_version(client, log).await {
                Ok(_) => Answer::Ends(error),
                Err(error) => Answer::TopicId(Err(error)),
            }
        }
    }
}
