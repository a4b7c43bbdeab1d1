//! A member in a session of its own, as programs have it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sluicegate_client::{At, Client, Error, Member, PartitionOffset, Source, Subscribe, Update};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::ledger::Log;
use super::member::{Consume, Trouble};

#[derive(Default)]
pub(super) struct Session {
    pub(super) url: String,
    pub(super) group: String,
    pub(super) topics: Vec<Arc<str>>,
    pub(super) member: Option<Member>,
    /// When its partitions were given or taken last.
    pub(super) since: Option<Instant>,
    /// The same, of a change after the records of the last poll.
    pub(super) next_since: Option<Instant>,
    /// The assignment of the last records.
    pub(super) assignment: u64,
}

impl Consume for Session {
    async fn join(&mut self) -> Result<(), Trouble> {
        let client = timeout(PATIENCE, Client::connect(&self.url)).await;
        let client = client.ok().and_then(Result::ok).ok_or_else(|| passing("connect", "no connection"))?;
        let sources = self.topics.iter().map(|topic| Source::new(&**topic).at(At::Earliest));
        self.member = Some(client.join(&self.group, Subscribe::new(sources)));
        Ok(())
    }

    /// All records that wait: a client slower than its records would get those of earlier shares for ever.
    async fn poll(&mut self) -> Result<Vec<(Log, i64)>, Trouble> {
        self.since = self.next_since.take().or(self.since);
        let (mut records, mut until, mut asked) = (Vec::new(), Instant::now() + WAIT, None);
        while records.len() < MAX_RECORDS {
            let member = self.member.as_mut().ok_or(Trouble::Unsubscribed)?;
            match timeout_at(until, member.next()).await {
                Ok(Some(Ok(Update::Assigned(_) | Update::Revoked))) => match records.is_empty() {
                    true => self.since = Some(Instant::now()),
                    false => {
                        self.next_since = Some(Instant::now());
                        break;
                    }
                },
                Ok(Some(Ok(Update::Delivery(delivery)))) => {
                    let Some(first) = delivery.messages.first() else { continue };
                    let known = self.topics.iter().find(|topic| ***topic == *delivery.topic);
                    let known =
                        known.ok_or_else(|| Trouble::Wrong(format!("records of {}", delivery.topic)))?;
                    let log = (Arc::clone(known), delivery.partition);
                    self.assignment = delivery.assignment;
                    until = Instant::now();
                    let is_current = match asked {
                        Some((assignment, is_current)) if assignment == self.assignment => Ok(is_current),
                        _ => self.is_current(&log, first.offset).await,
                    };
                    asked = is_current.as_ref().ok().map(|is_current| (self.assignment, *is_current));
                    match is_current {
                        Ok(true) => records
                            .extend(delivery.messages.iter().map(|message| (log.clone(), message.offset))),
                        Ok(false) => {}
                        Err(trouble) if records.is_empty() => return Err(trouble),
                        Err(_) => break,
                    }
                }
                Ok(Some(Ok(_))) => {}
                Ok(Some(Err(error))) => {
                    self.member = None;
                    if records.is_empty() {
                        return Err(trouble("subscribe", &error));
                    }
                    break;
                }
                Ok(None) => {
                    self.member = None;
                    break;
                }
                Err(_) => break,
            }
        }
        Ok(records)
    }

    async fn commit(&mut self, commits: &BTreeMap<Log, i64>) -> Result<(), Trouble> {
        let offset = |((topic, partition), offset): (&Log, &i64)| PartitionOffset {
            topic: topic.to_string(),
            partition: *partition,
            offset: *offset,
        };
        let offsets: Vec<PartitionOffset> = commits.iter().map(offset).collect();
        let member = self.member.as_ref().ok_or(Trouble::Unsubscribed)?;
        member.commit_at(self.assignment, &offsets).await.map_err(|error| trouble("commit", &error))
    }

    async fn leave(&mut self) -> Result<(), Trouble> {
        self.member = None;
        Ok(())
    }

    fn since(&self) -> Option<Instant> {
        self.since
    }
}

impl Session {
    /// Whether records from this offset on are of the share that the group knows. They can have waited here while others had
    /// the log: the group refuses their commits then.
    async fn is_current(&mut self, log: &Log, begin: i64) -> Result<bool, Trouble> {
        loop {
            match self.commit(&BTreeMap::from([(log.clone(), begin)])).await {
                Ok(()) => return Ok(true),
                Err(Trouble::Passing(why)) if why == REVOKED => return Ok(false),
                // Without an answer, nobody knows.
                Err(Trouble::Passing(_)) if self.member.is_some() => sleep(PAUSE).await,
                Err(trouble) => return Err(trouble),
            }
        }
    }
}

fn trouble(what: &str, error: &Error) -> Trouble {
    match error {
        Error::Revoked { .. } => Trouble::Passing(REVOKED.to_owned()),
        Error::Command { retriable: true, code, .. } => passing(what, &format!("retriable error {code}")),
        Error::Closed { .. } | Error::Lost { .. } | Error::Reconnect { .. } => passing(what, "no connection"),
        error => Trouble::Wrong(format!("{what}: {error}")),
    }
}

fn passing(what: &str, why: &str) -> Trouble {
    Trouble::Passing(format!("session, {what}: {why}"))
}

const REVOKED: &str = "session, commit: revoked";

/// Of one poll, about.
const MAX_RECORDS: usize = 1_000;
const PAUSE: Duration = Duration::from_millis(100);
const WAIT: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(10);
