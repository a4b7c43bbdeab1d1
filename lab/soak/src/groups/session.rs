//! A member in a session of its own, as programs have it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sluicegate_client::{At, Client, Error, Member, PartitionOffset, Source, Subscribe, Update};
use tokio::time::{Instant, timeout, timeout_at};

use super::ledger::Log;
use super::member::{Consume, Trouble};

pub(super) struct Session {
    url: String,
    group: String,
    topics: Vec<Arc<str>>,
    member: Option<Member>,
    /// When its partitions were given or taken last.
    since: Option<Instant>,
    /// That of the last records.
    assignment: u64,
}

impl Session {
    pub(super) fn new(url: String, group: &str, topics: &[Arc<str>]) -> Self {
        Self {
            url,
            group: group.to_owned(),
            topics: topics.to_vec(),
            member: None,
            since: None,
            assignment: 0,
        }
    }
}

impl Consume for Session {
    async fn join(&mut self) -> Result<(), Trouble> {
        let client = timeout(PATIENCE, Client::connect(&self.url)).await;
        let client = client.ok().and_then(Result::ok).ok_or_else(|| passing("connect", "no connection"))?;
        let sources = self.topics.iter().map(|topic| Source::new(&**topic).at(At::Earliest));
        self.member = Some(client.join(&self.group, Subscribe::new(sources)));
        Ok(())
    }

    async fn poll(&mut self) -> Result<Vec<(Log, i64)>, Trouble> {
        let until = Instant::now() + WAIT;
        loop {
            let member = self.member.as_mut().ok_or(Trouble::Unsubscribed)?;
            match timeout_at(until, member.next()).await {
                Ok(Some(Ok(Update::Assigned(_)))) => self.since = Some(Instant::now()),
                Ok(Some(Ok(Update::Delivery(delivery)))) if !delivery.messages.is_empty() => {
                    let known = self.topics.iter().find(|topic| ***topic == *delivery.topic);
                    let known =
                        known.ok_or_else(|| Trouble::Wrong(format!("records of {}", delivery.topic)))?;
                    let log = (Arc::clone(known), delivery.partition);
                    self.assignment = delivery.assignment;
                    // They can have waited here while others had the log: the group refuses commits of them then.
                    let begin = delivery.messages.first().map_or(0, |message| message.offset);
                    if self.commit(&BTreeMap::from([(log.clone(), begin)])).await.is_err() {
                        continue;
                    }
                    return Ok(delivery
                        .messages
                        .iter()
                        .map(|message| (log.clone(), message.offset))
                        .collect());
                }
                Ok(Some(Ok(Update::Revoked))) => self.since = Some(Instant::now()),
                Ok(Some(Ok(_))) => {}
                Ok(Some(Err(error))) => {
                    self.member = None;
                    return Err(trouble("subscribe", &error));
                }
                Ok(None) => self.member = None,
                Err(_) => return Ok(Vec::new()),
            }
        }
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

fn trouble(what: &str, error: &Error) -> Trouble {
    match error {
        Error::Revoked { .. } => passing(what, "revoked"),
        Error::Command { retriable: true, code, .. } => passing(what, &format!("retriable error {code}")),
        Error::Closed { .. } | Error::Lost { .. } | Error::Reconnect { .. } => passing(what, "no connection"),
        error => Trouble::Wrong(format!("{what}: {error}")),
    }
}

fn passing(what: &str, why: &str) -> Trouble {
    Trouble::Passing(format!("session, {what}: {why}"))
}

const WAIT: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(10);
