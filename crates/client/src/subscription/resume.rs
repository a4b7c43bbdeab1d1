//! Where a subscription continues: a function of what it asked for and what it got.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{CmdKafkaSubscribe, KafkaSource, PartitionNext};

use super::credit::cost;
use super::feed::Resume;
use super::update::{Delivery, Update};
use crate::Error;

/// A subscription's command, and how far it has come.
///
/// Holds an entry for each partition that the server has named: at most 1,000, its limit, from an honest one.
#[derive(Debug, Clone)]
pub(super) struct Topics {
    wanted: CmdKafkaSubscribe,
    topics: BTreeMap<String, Topic>,
    away: Away,
}

#[derive(Debug, Clone, Default)]
struct Topic {
    id: Bytes,
    next: BTreeMap<i32, i64>,
}

impl Topics {
    pub(super) fn new(wanted: CmdKafkaSubscribe) -> Self {
        Self { wanted, topics: BTreeMap::new(), away: Away::default() }
    }

    fn continue_at(&mut self, topic: &str, partition: i32, offset: i64) {
        if let Some(next) = self.topics.get_mut(topic).and_then(|topic| topic.next.get_mut(&partition)) {
            *next = offset;
        }
    }

    fn source(&self, wanted: &KafkaSource) -> KafkaSource {
        let Some(Topic { id, next }) = self.topics.get(&wanted.topic) else { return wanted.clone() };
        let is_wanted =
            |partition: &i32| wanted.partitions.is_empty() || wanted.partitions.contains(partition);
        let next = next.iter().filter(|(partition, _)| is_wanted(partition));
        let next = next.map(|(&partition, &offset)| PartitionNext { partition, offset }).collect();
        KafkaSource { next, topic_id: id.clone(), ..wanted.clone() }
    }
}

impl Resume for Topics {
    type Update = Update;

    fn command(&self) -> Req {
        let sources = match self.away.is_in_snapshot() {
            true => self.wanted.sources.clone(),
            false => self.wanted.sources.iter().map(|source| self.source(source)).collect(),
        };
        let away_ms = self.away.millis();
        Req::CmdKafkaSubscribe(CmdKafkaSubscribe { sources, away_ms, ..self.wanted.clone() })
    }

    fn hear(&mut self) {
        self.away.hear();
    }

    fn read(&self, answer: Resp) -> Result<Option<Update>, Error> {
        Update::read(answer)
    }

    fn advance(&mut self, update: &Update) -> Option<u64> {
        match update {
            Update::Subscribed(topics) | Update::Snapshot(topics) => {
                if matches!(update, Update::Snapshot(_)) {
                    self.away.begin();
                    self.topics.clear();
                }
                for subscribed in topics {
                    for (partition, _) in &subscribed.partitions {
                        self.away.is_behind(&subscribed.topic, *partition);
                    }
                    let topic = self.topics.entry(subscribed.topic.clone()).or_default();
                    topic.id.clone_from(&subscribed.topic_id);
                    topic.next.extend(subscribed.partitions.iter().copied());
                }
                None
            }
            Update::Delivery(delivery) => {
                let Delivery { topic, partition, messages, next_offset, .. } = delivery;
                if delivery.behind() > 0 {
                    self.away.is_behind(topic, *partition);
                }
                self.continue_at(topic, *partition, *next_offset);
                Some(cost(messages))
            }
            Update::CaughtUp { topic, partition, next_offset, .. } => {
                self.away.caught_up(topic, *partition);
                self.continue_at(topic, *partition, *next_offset);
                Some(0)
            }
            Update::Skipped { topic, partition, to, .. } => {
                self.continue_at(topic, *partition, *to);
                None
            }
            Update::SnapshotEnd { .. } => {
                self.away.end_snapshot();
                Some(0)
            }
            Update::Retrying { topic, partition, .. } => {
                self.away.is_behind(topic, *partition);
                None
            }
            Update::Reconnecting { .. }
            | Update::Building { .. }
            | Update::LogStart { .. }
            // Of members of groups, whose places are the group's.
            | Update::Assigned(_)
            | Update::Revoked => None,
        }
    }

    fn reconnecting(error: Error, pause: Duration) -> Update {
        Update::Reconnecting { error, pause }
    }
}

/// Whether a table goes on after a lost connection, and how long its client was away.
#[derive(Debug, Clone, Default)]
pub(crate) struct Away {
    /// A snapshot that is not complete begins anew.
    is_in_snapshot: bool,
    /// Logs that have not caught up since the subscription began, were behind, or failed.
    behind: BTreeSet<(String, i32)>,
    /// When the client had all that was in its logs last. None: it has no table.
    current: Option<(Instant, SystemTime)>,
}

impl Away {
    /// A snapshot begins: it has all that is in the logs.
    pub(crate) fn begin(&mut self) {
        let current = Some((Instant::now(), SystemTime::now()));
        *self = Self { is_in_snapshot: true, behind: BTreeSet::new(), current };
    }

    /// The snapshot is complete.
    pub(crate) fn end_snapshot(&mut self) {
        self.is_in_snapshot = false;
    }

    /// The client may lack what is in this log.
    pub(crate) fn is_behind(&mut self, log: &str, partition: i32) {
        self.behind.insert((log.to_owned(), partition));
    }

    pub(crate) fn caught_up(&mut self, log: &str, partition: i32) {
        self.behind.remove(&(log.to_owned(), partition));
    }

    /// The server was heard.
    pub(crate) fn hear(&mut self) {
        if self.current.is_some() && self.behind.is_empty() && !self.is_in_snapshot {
            self.current = Some((Instant::now(), SystemTime::now()));
        }
    }

    pub(crate) fn is_in_snapshot(&self) -> bool {
        self.is_in_snapshot
    }

    /// The time since the client had all that was in its logs, in milliseconds, rounded up.
    pub(crate) fn millis(&self) -> Option<u64> {
        let (at, date) = self.current?;
        // An `Instant` can stand still while the machine is suspended, and a `SystemTime` can be set back.
        let away = at.elapsed().max(date.elapsed().unwrap_or_default());
        Some(u64::try_from(away.as_millis()).unwrap_or(u64::MAX).saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{At, Source, Subscribe, SubscribedTopic};

    fn update(topic: &str, partition: i32, next_offset: i64) -> Update {
        let (topic, messages, high_watermark) = (topic.to_owned(), Vec::new(), None);
        Update::Delivery(Delivery { topic, partition, messages, next_offset, high_watermark, assignment: 0 })
    }

    fn subscribed(topic: &str, id: &'static str, partitions: &[(i32, i64)]) -> Update {
        let (topic, topic_id, partitions) = (topic.to_owned(), id.into(), partitions.to_vec());
        Update::Subscribed(vec![SubscribedTopic { topic, topic_id, partitions }])
    }

    fn command(resume: &Topics) -> CmdKafkaSubscribe {
        match resume.command() {
            Req::CmdKafkaSubscribe(command) => command,
            other => panic!("not a subscription: {other:?}"),
        }
    }

    #[test]
    fn command_is_as_given_until_the_server_has_named_partitions() {
        let wanted =
            Subscribe::new([Source::new("a").at(At::Millis(5)), Source::new("b").next(1, 7)]).into_command();
        let mut resume = Topics::new(wanted.clone());
        // Of a topic that nobody asked for.
        resume.advance(&update("c", 0, 9));
        assert_eq!(command(&resume), wanted);
    }

    #[test]
    fn incomplete_snapshot_begins_anew() {
        let wanted = Subscribe::new([Source::new("a")]).latest_per_key().into_command();
        let mut resume = Topics::new(wanted.clone());
        let partitions = vec![(0, 5)];
        let topic = SubscribedTopic { topic: "a".into(), topic_id: "id-a".into(), partitions };
        resume.advance(&Update::Snapshot(vec![topic]));
        // Also if the topic gets a partition meanwhile.
        resume.advance(&subscribed("a", "id-a", &[(1, 0)]));
        assert_eq!(command(&resume).sources, wanted.sources);
        resume.advance(&Update::SnapshotEnd { skipped: 0 });
        let next = [(0, 5), (1, 0)].map(|(partition, offset)| PartitionNext { partition, offset });
        assert_eq!(command(&resume).sources[0].next, next);
    }

    /// A log forgets removals that the client has not seen, however often it was heard.
    #[test]
    fn client_is_away_since_it_had_all_of_its_logs() {
        let wanted = Subscribe::new([Source::new("a")]).latest_per_key().into_command();
        let mut resume = Topics::new(wanted);
        let caught_up = |partition| {
            let (topic, next_offset, blocked_until) = ("a".to_owned(), 5, None);
            Update::CaughtUp { topic, partition, next_offset, blocked_until }
        };
        let retrying = || Update::Retrying {
            topic: "a".to_owned(),
            partition: 1,
            error: Error::Timeout { after: Duration::ZERO },
            since: 0,
        };
        let delivery = |high_watermark| match update("a", 1, 9) {
            Update::Delivery(delivery) => Update::Delivery(Delivery { high_watermark, ..delivery }),
            other => other,
        };
        let both = || subscribed("a", "id", &[(0, 5), (1, 5)]);
        let Update::Subscribed(snapshot) = both() else { panic!("another update") };
        assert_eq!(command(&resume).away_ms, None);
        for (update, is_current) in [
            (Update::Snapshot(snapshot), false),
            (Update::SnapshotEnd { skipped: 0 }, false),
            (caught_up(0), false),
            (caught_up(1), true),
            (delivery(Some(9)), true),
            (delivery(Some(10)), false),
            (caught_up(1), true),
            (retrying(), false),
            (caught_up(1), true),
            // Connections that are lost before it has caught up.
            (both(), false),
            (caught_up(1), false),
            (both(), false),
            (caught_up(0), false),
            (caught_up(1), true),
            (subscribed("a", "id", &[(2, 0)]), false),
        ] {
            let long_ago = Duration::from_secs(60);
            resume.advance(&update);
            resume.away.current = Some((Instant::now() - long_ago, SystemTime::now() - long_ago));
            resume.hear();
            let away = command(&resume).away_ms.unwrap();
            assert_eq!(away < 60_000, is_current, "{away} ms after {update:?}");
        }
        for (at, date) in [(60, 0), (0, 60)] {
            let [at, date] = [at, date].map(Duration::from_secs);
            resume.away.current = Some((Instant::now() - at, SystemTime::now() - date));
            assert!(resume.away.millis() > Some(60_000), "{at:?}, {date:?}");
        }
    }

    #[test]
    fn command_continues_where_each_partition_was() {
        let all = Source::new("a").at(At::Latest);
        let mut resume = Topics::new(Subscribe::new([all, Source::new("b").partitions([1])]).into_command());
        resume.advance(&subscribed("a", "id-a", &[(0, 5), (1, 6), (2, 7)]));
        resume.advance(&subscribed("b", "id-b", &[(1, 3)]));
        resume.advance(&update("a", 1, 9));
        resume.advance(&Update::CaughtUp {
            topic: "a".into(),
            partition: 2,
            next_offset: 8,
            blocked_until: None,
        });
        let cause = crate::SkipCause::Deleted;
        resume.advance(&Update::Skipped { topic: "b".into(), partition: 1, from: 3, to: 30, cause });
        // A partition that joins begins at its start, and has been named before the next failure.
        resume.advance(&subscribed("a", "id-a", &[(3, 0)]));
        let next = |entries: &[(i32, i64)]| -> Vec<PartitionNext> {
            entries.iter().map(|&(partition, offset)| PartitionNext { partition, offset }).collect()
        };
        let command = command(&resume);
        let [a, b] = &command.sources[..] else { panic!("{command:?}") };
        assert_eq!((&a.next, &a.topic_id[..]), (&next(&[(0, 5), (1, 9), (2, 8), (3, 0)]), &b"id-a"[..]));
        assert_eq!((&b.next, &b.topic_id[..], &b.partitions), (&next(&[(1, 30)]), &b"id-b"[..], &vec![1]));
    }
}
