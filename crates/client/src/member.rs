//! Members of consumer groups: subscriptions that share the partitions of topics, and commit what was processed.

mod resume;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{CmdKafkaCommit, CmdKafkaSubscribe, PartitionOffset};

use crate::answer::{check_count, mismatch};
use crate::many::MAX_OFFSETS;
use crate::subscription::open;
use crate::{Client, Error, Subscribe, Subscription, Update};
use resume::{Group, Membership, Told, has_partitions};

/// A member of a consumer group, made by [`Client::join`]. It leaves the group when it is dropped, and ends after an
/// error.
///
/// Memory: what [`Subscribe::window`] says, and an entry for each partition.
#[derive(Debug)]
pub struct Member {
    subscription: Subscription<Told>,
    request_timeout: Duration,
    /// Of the last assignment that was returned, until it is revoked.
    membership: Option<Membership>,
    /// The number of assignments that were returned.
    assignments: u64,
    /// The offsets behind what was returned since the last commit.
    uncommitted: BTreeMap<(String, i32), i64>,
    /// The update that comes after a revocation which the server could not tell.
    held: Option<Update>,
}

impl Client {
    /// Reads topics as a member of a consumer group. The group gives each partition to one of its members, and every
    /// message that is not committed is delivered to one of them, at least once. The route has to list the group under
    /// `consume`.
    ///
    /// A partition begins at the group's last commit, and without one where [`Source::at`](crate::Source::at) or
    /// [`offset`](crate::Source::offset) says, by default at its end. Sources have no partitions, places to continue and
    /// topic ids, and the subscription neither skips on lag nor begins with a snapshot.
    ///
    /// If the connection is lost, the member joins again, as a [subscription](Self::subscribe) does, and begins at what
    /// is committed.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O and time enabled.
    ///
    /// ```no_run
    /// use sluicegate_client::{At, Client, Error, Source, Subscribe, Update};
    ///
    /// # async fn example(client: Client) -> Result<(), Error> {
    /// let orders = Subscribe::new([Source::new("orders").at(At::Earliest)]);
    /// let mut member = client.join("billing", orders);
    /// while let Some(update) = member.next().await {
    ///     let Update::Delivery(delivery) = update? else { continue };
    ///     for message in delivery.messages {
    ///         println!("{} {}: {:?}", delivery.partition, message.offset, message.value);
    ///     }
    ///     match member.commit().await {
    ///         // Another member has the partition now, or the connection was lost: the messages come again.
    ///         Err(Error::Revoked { .. }) => {}
    ///         outcome => outcome?,
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn join(&self, group: impl Into<String>, subscribe: impl Into<Subscribe>) -> Member {
        let subscribe = subscribe.into();
        let window = subscribe.window;
        let command = CmdKafkaSubscribe { group: Some(group.into()), ..subscribe.into_command() };
        Member {
            subscription: open(self, Group::new(command), window),
            request_timeout: self.builder.request_timeout,
            membership: None,
            assignments: 0,
            uncommitted: BTreeMap::new(),
            held: None,
        }
    }
}

impl Member {
    /// Returns the next update; none after an error. [`Update::Assigned`] comes before the messages of its partitions,
    /// and [`Update::Revoked`] after the last of them, also if the connection is lost.
    ///
    /// # Cancel safety
    /// No update is lost.
    ///
    /// # Errors
    /// As [`Subscription::next`], and [`Error::GroupsUnsupported`].
    pub async fn next(&mut self) -> Option<Result<Update, Error>> {
        StreamExt::next(self).await
    }

    /// Commits all that [`next`](Self::next) has returned: call it once that is processed. The group does not deliver
    /// these messages again.
    ///
    /// # Cancel safety
    /// The offsets may or may not be committed. The next call commits them again.
    ///
    /// # Errors
    /// As [`commit_at`](Self::commit_at).
    pub async fn commit(&mut self) -> Result<(), Error> {
        let offset = |((topic, partition), offset): (&(String, i32), &i64)| PartitionOffset {
            topic: topic.clone(),
            partition: *partition,
            offset: *offset,
        };
        let offsets: Vec<PartitionOffset> = self.uncommitted.iter().map(offset).collect();
        self.commit_at(self.assignments, &offsets).await?;
        self.uncommitted.clear();
        Ok(())
    }

    /// Commits these offsets, each that of the next message to read: one more than that of a message that is processed. All
    /// belong to messages of one [assignment](crate::Delivery::assignment).
    ///
    /// # Cancel safety
    /// The offsets may or may not be committed.
    ///
    /// # Errors
    /// [`Error::Revoked`] if the member does not have one of the partitions now, or has it in a later assignment, or if the
    /// connection or the subscription ends before the answer: some of the offsets may be committed, and messages behind
    /// the others come again. That is no reason to end. Otherwise [`Error`].
    pub async fn commit_at(&self, assignment: u64, offsets: &[PartitionOffset]) -> Result<(), Error> {
        let Some(Membership { session, subscription, assignment: number }) = &self.membership else {
            return Err(Error::Revoked { detail: "the member has no partitions now".into() });
        };
        if assignment != self.assignments {
            let detail =
                format!("assignment {assignment} has ended, the member has number {}", self.assignments);
            return Err(Error::Revoked { detail });
        }
        for chunk in offsets.chunks(MAX_OFFSETS) {
            let (offsets, assignment) = (chunk.to_vec(), *number);
            let command = CmdKafkaCommit { subscription: *subscription, offsets, assignment };
            let answer = match session.command(Req::CmdKafkaCommit(command), self.request_timeout).await {
                Ok(Resp::KafkaCommitResp(answer)) => answer,
                Ok(other) => return Err(mismatch("commits", &other)),
                // The session or the subscription has ended meanwhile.
                Err(why) if !session.pending.expects(*subscription) => {
                    let detail = match &why {
                        Error::Command { message, .. } => message.clone(),
                        why => format!("failed to {why}"),
                    };
                    return Err(Error::Revoked { detail });
                }
                Err(why) => return Err(why),
            };
            check_count(answer.results.len(), chunk.len())?;
            if let Some(error) = answer.results.into_iter().find_map(|result| result.error) {
                return Err(match error.code {
                    ILLEGAL_GENERATION | UNKNOWN_MEMBER_ID | REBALANCE_IN_PROGRESS => {
                        Error::Revoked { detail: error.message }
                    }
                    _ => Error::command(error),
                });
            }
        }
        Ok(())
    }

    /// Notes what `told` means for commits, and returns the update.
    fn returns(&mut self, Told { mut update, membership }: Told) -> Update {
        match &mut update {
            Update::Assigned(_) => {
                self.forget();
                (self.membership, self.assignments) = (membership, self.assignments.saturating_add(1));
            }
            Update::Revoked => self.forget(),
            // A partition without a leader begins later.
            Update::Subscribed(topics) if has_partitions(topics) => {}
            Update::Subscribed(_) | Update::Reconnecting { .. } if self.membership.is_some() => {
                self.forget();
                self.held = Some(update);
                return Update::Revoked;
            }
            Update::Delivery(delivery) => {
                delivery.assignment = self.assignments;
                self.note(&delivery.topic, delivery.partition, delivery.next_offset);
            }
            Update::CaughtUp { topic, partition, next_offset: next, .. }
            | Update::Skipped { topic, partition, to: next, .. } => self.note(topic, *partition, *next),
            _ => {}
        }
        update
    }

    fn note(&mut self, topic: &str, partition: i32, next: i64) {
        self.uncommitted.insert((topic.to_owned(), partition), next);
    }

    fn forget(&mut self) {
        self.membership = None;
        self.uncommitted.clear();
    }
}

impl Stream for Member {
    type Item = Result<Update, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(update) = self.held.take() {
            return Poll::Ready(Some(Ok(update)));
        }
        let told = ready!(Pin::new(&mut self.subscription).poll_next(context));
        Poll::Ready(told.map(|told| told.map(|told| self.returns(told))))
    }
}

/// Kafka's codes for a member that the group goes on without.
const ILLEGAL_GENERATION: i32 = 22;
const UNKNOWN_MEMBER_ID: i32 = 25;
const REBALANCE_IN_PROGRESS: i32 = 27;
