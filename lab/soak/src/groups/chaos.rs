//! Kills brokers, bridges and Envoy, and starts them again; meanwhile, topics get partitions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::random::Random;
use sluicegate_stack::stack::Stack;
use tokio::time::{Instant, sleep};

use super::PARTITIONS;
use super::ledger::{Ledger, Log};
use crate::live::chaos::{DOWN, any_bridge, drain, kill_bridge, kill_envoy};
use crate::live::writers::Writers;

pub(super) struct Topic {
    pub(super) name: Arc<str>,
    pub(super) partitions: i32,
    pub(super) writers: Writers,
}

pub(super) struct Chaos<'a> {
    pub(super) kafka: &'a mut Kafka,
    pub(super) stack: &'a mut Stack,
    pub(super) topics: Vec<Topic>,
    pub(super) ledger: &'a Ledger,
    pub(super) random: Random,
}

impl Chaos<'_> {
    /// Goes on for this time, with at most `calm` between two kills. Gives the number of each kind, and the longest time
    /// until all groups read everything again.
    pub(super) async fn run(
        &mut self,
        topics_of: &dyn Fn(usize) -> Vec<Arc<str>>,
        (duration, calm): (Duration, Duration),
    ) -> (BTreeMap<&'static str, usize>, Duration) {
        let (start, mut done, mut choices) = (Instant::now(), BTreeMap::new(), Vec::new());
        let mut longest = Duration::ZERO;
        while start.elapsed() < duration || done.len() < 3 {
            let most = u64::try_from(calm.as_millis()).unwrap();
            let end = Instant::now() + Duration::from_millis(self.random.next() % most.max(1));
            let calm_since = Instant::now();
            if self.random.below(3) == 0 {
                self.grow().await;
            }
            while Instant::now() < end {
                sleep(POLL).await;
                self.ledger.watch(calm_since);
            }
            if choices.is_empty() {
                // A broker is away for longest: short checks have the others.
                choices = vec![3, 0, 1, 2];
            }
            let before = Instant::now();
            let what = self.kill(choices.pop().unwrap()).await;
            self.ledger.harmed(before);
            *done.entry(what).or_default() += 1;
            let back = Instant::now();
            let took = self.recovered(topics_of, back).await;
            crate::say(&format!("{:>4} s {what}: all is read after {took:?}", start.elapsed().as_secs()));
            longest = longest.max(took);
        }
        (done, longest)
    }

    /// Waits until each group has read from each of its partitions that were there from the beginning: leaders look for
    /// others after a while.
    pub(super) async fn recovered(
        &self,
        topics_of: &dyn Fn(usize) -> Vec<Arc<str>>,
        since: Instant,
    ) -> Duration {
        let silent = || -> Vec<(usize, Vec<Log>)> {
            let groups = (0..self.ledger.groups()).map(|group| {
                let names = topics_of(group);
                let topics = self.topics.iter().filter(|topic| names.contains(&topic.name));
                let logs = topics.flat_map(|topic| (0..PARTITIONS).map(|of| (Arc::clone(&topic.name), of)));
                (group, self.ledger.silent(group, logs, since))
            });
            groups.filter(|(_, logs)| !logs.is_empty()).collect()
        };
        let mut told = Duration::ZERO;
        loop {
            let left = silent();
            if left.is_empty() {
                return since.elapsed();
            }
            if since.elapsed() > told + SLOW {
                told = since.elapsed();
                let counts: Vec<_> = left.iter().map(|(group, logs)| (group, logs.len())).collect();
                crate::say(&format!("       not read after {told:?}, by group: {counts:?}"));
            }
            assert!(
                since.elapsed() < RECOVERY,
                "not read after {RECOVERY:?}: {left:?}; {:#?}",
                self.ledger.summary()
            );
            sleep(POLL).await;
        }
    }

    async fn grow(&mut self) {
        let at = self.random.below(self.topics.len());
        let topic = self.topics.get_mut(at).unwrap();
        topic.partitions += 1;
        self.kafka.grow_topic(&topic.name, topic.partitions).await.unwrap();
        topic.writers.add(topic.partitions - 1, |_, number| number.to_string());
    }

    async fn kill(&mut self, choice: usize) -> &'static str {
        match choice {
            0 => {
                let _ = drain(any_bridge(self.stack, &mut self.random)).await;
                "bridge, drained"
            }
            1 => {
                kill_envoy(self.stack).await;
                "Envoy"
            }
            2 => {
                let down = if self.random.below(2) == 0 { DOWN } else { LONG };
                kill_bridge(any_bridge(self.stack, &mut self.random), down).await;
                "bridge"
            }
            _ => {
                let at = self.random.below(self.kafka.nodes.len());
                self.kafka.nodes.get_mut(at).unwrap().process.kill();
                sleep(DOWN).await;
                self.kafka.up_only(at + 1).await.unwrap();
                "broker"
            }
        }
    }
}

const POLL: Duration = Duration::from_millis(100);
/// Time that a bridge stays away whose consumers another one takes over.
const LONG: Duration = Duration::from_secs(5);
/// The time after which a slow recovery is told of.
const SLOW: Duration = Duration::from_secs(5);
/// The longest time until all groups read everything again. A rebalance in which members are killed waits until their sessions
/// end, and so does the next one if their leader had joined it.
const RECOVERY: Duration = Duration::from_secs(120);
