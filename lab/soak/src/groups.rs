//! Checks consumers in groups: members of several groups read the same topics through two bridges behind one Envoy, while
//! bridges, Envoy and brokers are killed, members leave and come, and topics get partitions. Each record must reach each
//! group, and what a group has committed may not come again.
//!
//! 1. [`Setup`]: a cluster of three brokers, and the numbers of members and groups
//! 2. `member`: what a client does; `rest`: over plain HTTP; `session`: in a session; `plain`: librdkafka's consumer beside them
//! 3. `chaos`: kills and restarts, and the time until every group reads all partitions again
//! 4. `ledger`: what each group has received and committed, and what may not be

#![expect(clippy::unwrap_used, reason = "test code: a failure is a panic")]

mod chaos;
mod ledger;
mod member;
mod plain;
mod rest;
mod session;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use sluicegate_stack::envoy::instead;
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::random::Random;
use sluicegate_stack::stack::{self, BridgeConfig, Stack};
use sluicegate_stack::tools;
use sluicegate_stack::way::Way;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use self::chaos::{Chaos, Topic};
use self::ledger::Ledger;
use self::member::Life;
use self::plain::Plain;
use self::rest::Rest;
use self::session::Session;
use crate::live::writers;

/// Size and duration of a check.
pub struct Setup<'a> {
    /// Three brokers with [`PROPERTIES`](crate::live::PROPERTIES), which the check breaks.
    pub kafka: &'a mut Kafka,
    /// Members of all groups.
    pub members: usize,
    pub groups: usize,
    pub topics: usize,
    /// Time during which parts are killed and restarted.
    pub duration: Duration,
    /// The longest time between two of them.
    pub calm: Duration,
    /// Makes what happens reproducible, as far as the machine's timing allows.
    pub seed: u64,
}

#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// Records in the topics.
    pub records: usize,
    /// To all groups, with repeats.
    pub delivered: usize,
    /// Records that a group received more than once.
    pub repeats: usize,
    /// Kills and restarts, by what was killed.
    pub kills: BTreeMap<&'static str, usize>,
    /// The longest time after one of them until every group read every partition again.
    pub recovery: Duration,
    /// The longest time without a record for a group while nothing was broken.
    pub standstill: Duration,
    /// Members that came anew because their group had lost them.
    pub lost_members: usize,
    /// Other answers than 200 and 204, by request, status and code.
    pub answers: BTreeMap<String, usize>,
}

/// Runs a check. Panics if a group has not received a record, has received one again that was committed, or stands still.
pub async fn check(setup: Setup<'_>) -> Summary {
    let Setup { kafka, members, groups, topics, duration, calm, seed } = setup;
    let mut random = Random::new(seed);
    let mut created = Vec::new();
    for _ in 0..topics {
        let name: Arc<str> = kafka.topic("groups", PARTITIONS, &[]).await.unwrap().into();
        let writers = writers::start(kafka, &name, PARTITIONS, |_, number| number.to_string());
        created.push(Topic { name, partitions: PARTITIONS, writers });
    }
    let mut stack = Stack::start(stack_setup(kafka)).await.unwrap();
    stack.ready_within(Duration::from_secs(60)).await.unwrap();

    let ledger = Arc::new(Ledger::new(groups));
    let (stop, stopped) = watch::channel(false);
    let mut running = JoinSet::new();
    let prefix = format!("check-{seed}");
    // The groups read one topic more in turn, so that shares are uneven too.
    let names: Vec<Arc<str>> = created.iter().map(|topic| Arc::clone(&topic.name)).collect();
    let topics_of =
        |group: usize| -> Vec<Arc<str>> { names.iter().take(topics - group % topics).cloned().collect() };
    for number in 0..members {
        let group = number % groups;
        let life = Life {
            group,
            number,
            commits: group % 2 == 1,
            // Each group changes about every ten seconds.
            patience: members / groups * POLLS_IN_TEN_SECONDS,
            stopped: stopped.clone(),
            random: Random::new(random.next()),
        };
        let (topics, ledger, commits) = (topics_of(group), Arc::clone(&ledger), life.commits);
        let group = format!("{prefix}-{group}");
        // Nothing is committed for sessions. Where clients commit, half of them have one.
        if commits && number / groups % 2 == 1 {
            let session = Session { url: stack.url(), group, topics, ..Session::default() };
            running.spawn(member::run(session, life, ledger));
        } else {
            let (gateway, name) = (stack.gateway(), format!("member-{number}"));
            let rest = Rest { gateway, connection: None, group, name, topics, commits };
            running.spawn(member::run(rest, life, ledger));
        }
    }
    let mut chaos = Chaos { kafka, stack: &mut stack, topics: created, ledger: &ledger, random };
    chaos.recovered(&topics_of, Instant::now()).await;
    // Not before: Kafka 4.4 cannot let a member of KIP-848's protocol into a group that has never been stable, and interrupts
    // its first rebalance with each attempt (`NoSuchElementException: No value present` in its log).
    // Brokers have had KIP-848's protocol since 4.0.
    let has_new = tools::kafka_version().is_none_or(|version| !version.starts_with("3."));
    for (group, protocol) in ["classic", "consumer"].into_iter().enumerate().take(if has_new { 2 } else { 1 })
    {
        let plain = Plain { group, number: members + group, name: format!("{prefix}-{group}"), protocol };
        let (ledger, stopped) = (Arc::clone(&ledger), stopped.clone());
        let (bootstrap, topics) = (chaos.kafka.bootstrap(), topics_of(group));
        running.spawn_blocking(move || plain.run(&bootstrap, &topics, &ledger, &stopped));
    }
    chaos.recovered(&topics_of, Instant::now()).await;
    let (kills, recovery) = chaos.run(&topics_of, (duration, calm)).await;
    let topics = chaos.topics;

    let mut written = BTreeMap::new();
    for Topic { name, writers, .. } in topics {
        for (partition, offset) in writers.stop().await.offsets {
            // Not known of a record that was sent again after a lost answer. Nothing else is in the logs.
            let offsets: &mut Vec<i64> = written.entry((Arc::clone(&name), partition)).or_default();
            offsets.extend(offsets.len() as i64..=offset);
        }
    }
    let began = Instant::now();
    let missing = || -> Vec<String> {
        (0..groups).flat_map(|group| ledger.missing(group, &topics_of(group), &written)).collect()
    };
    while !missing().is_empty() && began.elapsed() < LAST {
        sleep(Duration::from_millis(100)).await;
    }
    stop.send_replace(true);
    while let Some(ended) = running.join_next().await {
        ended.unwrap();
    }
    let missing = missing();
    let records = written.values().map(Vec::len).sum();
    let summary = Summary { records, kills, recovery, ..ledger.summary() };
    assert!(missing.is_empty(), "{missing:#?} are missing after {LAST:?}; {summary:#?}");
    let wrongs = ledger.wrongs();
    assert!(wrongs.is_empty(), "{wrongs:#?}; {summary:#?}");
    summary
}

fn stack_setup(kafka: &Kafka) -> stack::Setup {
    let settings = format!("[consumers]\nidle_timeout_ms = {}\n", IDLE.as_millis());
    let bridge = BridgeConfig::Cluster { bootstrap: kafka.bootstrap(), settings };
    let route = json!({"path": rest::PATH, "type": "rest", "consume": ["check-*"]}).to_string();
    let sessions = json!({"path": "/pubsub", "cluster": "default", "consume": ["check-*"]}).to_string();
    let envoy_edits = vec![instead("", &[&sessions, &route])];
    stack::Setup { bridge, bridges: 2, envoy_edits, ..stack::Setup::new(Way::Tunnel, "") }
}

/// Partitions of each topic at the beginning.
const PARTITIONS: i32 = 12;

/// Longer than any outage of a check.
const IDLE: Duration = Duration::from_secs(60);

const POLLS_IN_TEN_SECONDS: usize = 16;

/// Time for the last records.
const LAST: Duration = Duration::from_secs(90);
