//! Updates of a subscription; those of a member of a group with commits of what was written.

use std::collections::BTreeMap;
use std::future::pending;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::LocalBoxStream;
use sluicegate_client::{self as client, Error, Member, PartitionOffset};
use tokio::time::{Instant, sleep_until, timeout};

use super::update::Update;
use crate::log::Log;
use crate::stderr::printable;

pub(super) enum Updates {
    Alone(LocalBoxStream<'static, Result<Update, Error>>),
    Member(Box<Commits>),
}

impl Updates {
    /// The next update; none after an error. Commits while it waits.
    ///
    /// # Cancel safety
    /// No update is lost, and the next commit has what this one would have had.
    pub(super) async fn next(&mut self) -> Option<Result<Update, Error>> {
        match self {
            Self::Alone(updates) => updates.next().await,
            Self::Member(commits) => commits.next().await,
        }
    }

    /// Notes that all before offset `next` of a log was written.
    pub(super) fn written(&mut self, log: &Log, next: i64) {
        if let (Self::Member(commits), Log::Partition { topic, number }) = (self, log) {
            commits.written.insert((topic.clone(), *number), next);
            commits.due.get_or_insert_with(soon);
        }
    }

    /// Commits what is left. Returns a line for people if it cannot.
    pub(super) async fn finish(&mut self) -> Option<String> {
        let Self::Member(commits) = self else { return None };
        let why = match timeout(LAST, commits.commit()).await {
            Ok(Ok(())) => return None,
            Ok(Err(why)) => format!("failed to {why}"),
            Err(_) => format!("no answer to the last commit within {} s", LAST.as_secs()),
        };
        Some(format!("% {}", printable(&why)))
    }

    /// Whether a group has the positions.
    pub(super) fn is_member(&self) -> bool {
        matches!(self, Self::Member(_))
    }
}

/// A member that commits what was written.
pub(super) struct Commits {
    member: Member,
    /// The assignment of the last delivery.
    assignment: u64,
    /// The offsets behind what was written and is not committed.
    written: BTreeMap<(String, i32), i64>,
    /// The time of the next commit.
    due: Option<Instant>,
}

impl Commits {
    pub(super) fn new(member: Member) -> Self {
        Self { member, assignment: 0, written: BTreeMap::new(), due: None }
    }

    async fn next(&mut self) -> Option<Result<Update, Error>> {
        loop {
            let due = self.due;
            let wait = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                update = self.member.next() => {
                    match &update {
                        Some(Ok(client::Update::Delivery(delivery))) => self.assignment = delivery.assignment,
                        Some(Ok(client::Update::Revoked)) => self.forget(),
                        _ => {}
                    }
                    return update.map(|update| update.map(Update::from));
                }
                () = wait => match self.commit().await {
                    // Others read on: an update says so, or the end of the subscription.
                    Ok(()) | Err(Error::Revoked { .. }) => self.forget(),
                    Err(Error::Command { retriable: true, .. } | Error::Timeout { .. }) => {
                        self.due = Some(soon());
                    }
                    Err(why) => {
                        self.forget();
                        return Some(Err(why));
                    }
                },
            }
        }
    }

    async fn commit(&self) -> Result<(), Error> {
        let offset = |((topic, partition), offset): (&(String, i32), &i64)| PartitionOffset {
            topic: topic.clone(),
            partition: *partition,
            offset: *offset,
        };
        let offsets: Vec<PartitionOffset> = self.written.iter().map(offset).collect();
        match offsets.is_empty() {
            true => Ok(()),
            false => self.member.commit_at(self.assignment, &offsets).await,
        }
    }

    fn forget(&mut self) {
        self.written.clear();
        self.due = None;
    }
}

/// The time of the next commit.
fn soon() -> Instant {
    let now = Instant::now();
    now.checked_add(EVERY).unwrap_or(now)
}

const EVERY: Duration = Duration::from_secs(1);
/// The limit for the last commit.
const LAST: Duration = Duration::from_secs(5);
