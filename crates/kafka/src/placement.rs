//! Partitions of records, while one of their topic has no leader: records without a key avoid it, and others for it are
//! refused at once, instead of waiting in librdkafka's queue for `message.timeout.ms`.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use sluicegate_backend::command::Record;
use sluicegate_backend::{CommandError, Fault, Log};
use sluicegate_fair_share::ClientKey;
use sluicegate_protocol::error_code::{INVALID_REQUEST, LEADER_NOT_AVAILABLE};
use sluicegate_reader::{ReadError, Reader, Topic};
use tokio::time::{Instant, sleep, timeout};

/// The placement of a cluster's records.
#[derive(Debug)]
pub(super) struct Placement {
    /// Whether the partition of a key is that of Java's partitioner. Otherwise only librdkafka knows it.
    is_murmur2: bool,
    /// Counts commands: their records without a key take turns among partitions.
    turn: AtomicUsize,
    /// Since when a topic has lacked a leader that a record needs. At most [`MAX_MISSED`].
    missed: Mutex<HashMap<String, Instant>>,
}

/// The partition for a record.
enum Target {
    /// The record has no key.
    Any,
    In(i32),
    /// librdkafka chooses.
    Unknown,
}

impl Placement {
    pub(super) fn new(is_murmur2: bool) -> Self {
        Self { is_murmur2, turn: AtomicUsize::default(), missed: Mutex::default() }
    }

    /// Places records without an error. Those whose partition has had no leader for [`ELECTION`] get one.
    ///
    /// # Cancel safety
    /// A drop leaves records and errors as they are.
    pub(super) async fn place(
        &self,
        reader: &Reader,
        source: ClientKey,
        records: &mut [Record],
        errors: &mut [Option<CommandError>],
    ) {
        let is_of = |name: &str, (record, error): (&Record, &Option<CommandError>)| {
            error.is_none() && record.topic == name
        };
        let (of, errors_of) = (&*records, &*errors);
        let accepted = of.iter().zip(errors_of).filter(|(_, error)| error.is_none());
        let names: BTreeSet<&str> = accepted.map(|(record, _)| record.topic.as_str()).collect();
        let topics = names.into_iter().map(|name| async move {
            let lacks = |topic: &Topic| {
                let mut of_topic = of.iter().zip(errors_of).filter(|it| is_of(name, *it));
                of_topic.any(|(record, _)| self.lacks_leader(record, topic).is_some())
            };
            (name.to_owned(), self.described(reader, source, name, lacks).await)
        });
        let topics = join_all(topics).await;
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        for (name, topic) in topics {
            let Some(topic) = topic.filter(|topic| topic.partitions.iter().any(|of| of.leader.is_none()))
            else {
                continue;
            };
            let led: Vec<i32> =
                topic.partitions.iter().filter(|of| of.leader.is_some()).map(|of| of.partition).collect();
            let any = turn.checked_rem(led.len()).and_then(|turn| led.get(turn)).copied();
            for (record, error) in records.iter_mut().zip(errors.iter_mut()) {
                if !is_of(&name, (&*record, &*error)) {
                    continue;
                }
                *error = self.lacks_leader(record, &topic);
                if error.is_none() && matches!(self.target(record, &topic), Target::Any) {
                    record.partition = any;
                }
            }
        }
    }

    /// Gives each record without an error its partition. Those of a producer without a key have all the one that its number
    /// gives; others take turns. A record whose key only librdkafka can place gets an error.
    ///
    /// # Cancel safety
    /// A drop leaves records and errors as they are.
    pub(super) async fn place_all(
        &self,
        reader: &Reader,
        source: ClientKey,
        (records, errors): (&mut [Record], &mut [Option<CommandError>]),
        producer: Option<i64>,
        failed: impl Fn(&ReadError) -> CommandError,
    ) {
        let accepted = records.iter().zip(&*errors).filter(|(_, error)| error.is_none());
        let names: BTreeSet<String> = accepted.map(|(record, _)| record.topic.clone()).collect();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        for name in names {
            let topic = reader.topic(source, &name).await;
            for (record, error) in records.iter_mut().zip(errors.iter_mut()) {
                if error.is_some() || record.topic != name {
                    continue;
                }
                let placed = match &topic {
                    Err(error) => Err(failed(error)),
                    Ok(topic) => match self.target(record, topic) {
                        Target::In(number) => Ok(number),
                        Target::Any => Ok(any(topic, producer, turn)),
                        Target::Unknown => {
                            Err(CommandError::new(Fault::Invalid, INVALID_REQUEST, UNKNOWN_PLACE))
                        }
                    },
                };
                match placed {
                    Ok(number) => record.partition = Some(number),
                    Err(cause) => *error = Some(cause),
                }
            }
        }
    }

    /// A topic as it is now. Where it lacks a leader, that of an election under way is waited for. None: nobody tells in
    /// time, so that librdkafka finds out.
    async fn described(
        &self,
        reader: &Reader,
        source: ClientKey,
        name: &str,
        lacks: impl Fn(&Topic) -> bool,
    ) -> Option<Arc<Topic>> {
        let begun = Instant::now();
        loop {
            let topic = timeout(PATIENCE, reader.topic(source, name)).await.ok()?.ok()?;
            if !self.waits(name, &topic, lacks(&topic), begun) {
                return Some(topic);
            }
            sleep(PAUSE).await;
            let log = Log { topic: name, partition: 0 };
            timeout(PATIENCE, reader.refresh(source, log)).await.ok()?.ok()?;
        }
    }

    /// Whether a command that has begun then waits for an election. What others write to led partitions ends no wait
    /// and begins none anew.
    fn waits(&self, name: &str, topic: &Topic, lacks: bool, begun: Instant) -> bool {
        if topic.partitions.iter().all(|of| of.leader.is_some()) {
            self.missed.lock().remove(name);
        }
        lacks && self.missed_since(name).min(begun).elapsed() < ELECTION
    }

    fn missed_since(&self, name: &str) -> Instant {
        let mut missed = self.missed.lock();
        if missed.len() >= MAX_MISSED && !missed.contains_key(name) {
            missed.clear();
        }
        *missed.entry(name.to_owned()).or_insert_with(Instant::now)
    }

    /// The error of a record whose partition has no leader.
    fn lacks_leader(&self, record: &Record, topic: &Topic) -> Option<CommandError> {
        let lacks = |number: i32| {
            let found = topic.partitions.binary_search_by_key(&number, |of| of.partition).ok();
            found.and_then(|at| topic.partitions.get(at)).is_some_and(|of| of.leader.is_none())
        };
        let lacking = match self.target(record, topic) {
            Target::In(number) if lacks(number) => format!("partition {number} of topic {}", record.topic),
            Target::Any if topic.partitions.iter().all(|of| of.leader.is_none()) => {
                format!("each partition of topic {}", record.topic)
            }
            Target::In(_) | Target::Any | Target::Unknown => return None,
        };
        let message = format!("{lacking} is without a leader, the record was not written");
        Some(CommandError::new(Fault::Transient, LEADER_NOT_AVAILABLE, message).with_retry())
    }

    fn target(&self, record: &Record, topic: &Topic) -> Target {
        match (record.partition, &record.key) {
            (Some(number @ 0..), _) => Target::In(number),
            (_, None) => Target::Any,
            (_, Some(key)) if self.is_murmur2 => {
                let count = u32::try_from(topic.partitions.len()).unwrap_or(u32::MAX);
                // As Java does, without the sign.
                let number = (murmur2(key) & 0x7fff_ffff).checked_rem(count);
                number.and_then(|number| i32::try_from(number).ok()).map_or(Target::Unknown, Target::In)
            }
            (_, Some(_)) => Target::Unknown,
        }
    }
}

/// A partition for records without a key.
fn any(topic: &Topic, producer: Option<i64>, turn: usize) -> i32 {
    let number = producer.and_then(|id| usize::try_from(id).ok()).unwrap_or(turn);
    let number = number.checked_rem(topic.partitions.len());
    number.and_then(|number| i32::try_from(number).ok()).unwrap_or_default()
}

/// The hash of Kafka's Java clients: MurmurHash2 of 32 bits with a seed of its own.
fn murmur2(key: &[u8]) -> u32 {
    const MIX: u32 = 0x5bd1_e995;
    let len = u32::try_from(key.len()).unwrap_or(u32::MAX);
    let (words, rest) = key.as_chunks::<4>();
    let mut hash = words.iter().fold(0x9747_b28c ^ len, |hash, word| {
        let word = u32::from_le_bytes(*word).wrapping_mul(MIX);
        hash.wrapping_mul(MIX) ^ (word ^ word >> 24).wrapping_mul(MIX)
    });
    if !rest.is_empty() {
        let last = rest.iter().rev().fold(0, |last: u32, byte| last << 8 | u32::from(*byte));
        hash = (hash ^ last).wrapping_mul(MIX);
    }
    hash = (hash ^ hash >> 13).wrapping_mul(MIX);
    hash ^ hash >> 15
}

const UNKNOWN_PLACE: &str =
    "the cluster's `partitioner` places keys where only librdkafka knows: expected a partition";

/// The time for which records wait for an election.
const ELECTION: Duration = Duration::from_secs(1);

/// The time for which they wait for metadata.
const PATIENCE: Duration = Duration::from_millis(500);

/// The time between two questions about an election.
const PAUSE: Duration = Duration::from_millis(100);

/// Topics that are known to lack a leader: 256 KiB at most. Beyond that, all are forgotten, and waited for once more.
const MAX_MISSED: usize = 1000;

#[cfg(test)]
mod tests {
    use sluicegate_reader::Partition;

    use super::*;

    fn topic(led: &[bool]) -> Topic {
        let partition = |(partition, led): (i32, &bool)| Partition {
            partition,
            leader: led.then_some(1),
            replicas: [].into(),
        };
        Topic { id: None, partitions: (0..).zip(led).map(partition).collect() }
    }

    #[test]
    fn keys_have_the_partitions_of_java() {
        for (key, want) in [
            ("354afe16-939a-4ea8-8e17-8bb0840b6886", 4),
            ("", 1),
            ("a", 4),
            ("abc", 7),
            ("abcd", 0),
            ("größe", 4),
        ] {
            let record = Record { key: Some(key.into()), ..Record::default() };
            let target = Placement::new(true).target(&record, &topic(&[true; 10]));
            assert!(matches!(target, Target::In(found) if found == want), "{key:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn wait_for_an_election_is_short_beside_other_writers() {
        let (placement, topic) = (Placement::new(true), topic(&[true, false]));
        let begun = Instant::now();
        assert!(placement.waits("t", &topic, true, begun));
        tokio::time::advance(ELECTION).await;
        assert!(!placement.waits("t", &topic, false, Instant::now()));
        assert!(!placement.waits("t", &topic, true, begun));
        assert!(!placement.waits("t", &topic, true, Instant::now()), "the topic is known to lack it");
    }

    #[test]
    fn records_lack_the_leader_of_their_own_partition() {
        let topics = [topic(&[true, false]), topic(&[false, false]), topic(&[true, true])];
        let record = |partition, key: Option<&'static str>| Record {
            topic: "t".into(),
            partition,
            key: key.map(Into::into),
            ..Record::default()
        };
        for (record, is_murmur2, want) in [
            (record(Some(0), None), true, [false, true, false]),
            (record(Some(1), Some("a")), true, [true, true, false]),
            (record(Some(2), None), true, [false; 3]),
            (record(None, None), true, [false, true, false]),
            (record(Some(-1), None), false, [false, true, false]),
            (record(None, Some("a")), false, [false; 3]),
        ] {
            let placement = Placement::new(is_murmur2);
            let lacks = topics.each_ref().map(|topic| placement.lacks_leader(&record, topic).is_some());
            assert_eq!(lacks, want, "{record:?}");
        }
    }
}
