//! Members of ours in groups of a real Kafka, beside each other and beside librdkafka's: through the seam, since who owns
//! a log is the same by all ways in. [`rest`]: those of plain HTTP. [`clients`]: the command line and pages. [`checker`]:
//! many of them, while everything is killed.

mod checker;
mod clients;
mod rest;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use sluicegate_backend::groups::{Commit, Ended, GroupLog, Groups, Member, MemberState, Membership};
use sluicegate_fair_share::ClientKey;
use sluicegate_kafka::{ClusterConfig, EncoderPool};
use sluicegate_shared_log::{Limits, SharedLog};
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::tools;
use sluicegate_stack::waiting::until;
use sluicegate_telemetry::metrics::Metrics;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The least that a broker allows.
const SESSION: Duration = Duration::from_secs(6);

/// Heartbeats tell of a rebalance within 2 s.
const SOON: Duration = Duration::from_secs(10);

/// The groups of a Kafka, as one bridge sees them.
fn bridge(kafka: &Kafka) -> sluicegate_kafka::Kafka {
    let properties = BTreeMap::from([("bootstrap.servers".to_owned(), kafka.bootstrap())]);
    let config = ClusterConfig::parse(&properties).unwrap();
    let logs = SharedLog::new(Limits { max_bytes: 1 << 20, max_age: SOON });
    let shared = (logs.add_cluster(), EncoderPool::new());
    sluicegate_kafka::Kafka::new("test", &config, shared, Metrics::default().brokers("test"), None)
}

fn wanted(group: &str, instance: Option<&str>, topic: &str) -> Membership {
    Membership {
        group: group.into(),
        instance: instance.map(Arc::from),
        topics: [topic.into()].into(),
        settings: "settings".into(),
        session_timeout: SESSION,
    }
}

/// A member, and its state.
struct Ours {
    member: Arc<dyn Member>,
    state: watch::Receiver<MemberState>,
}

impl Ours {
    fn join(bridge: &sluicegate_kafka::Kafka, membership: Membership) -> Self {
        let member = bridge.join(ClientKey::default(), membership);
        Self { state: member.state(), member }
    }

    /// Its logs; none while it may not read.
    fn logs(&self) -> Vec<GroupLog> {
        match &*self.state.borrow() {
            MemberState::Assigned(_, logs) => logs.to_vec(),
            MemberState::Joining(_) | MemberState::Ended(_) => Vec::new(),
        }
    }

    async fn becomes(&mut self, what: &str, is_it: impl Fn(&MemberState) -> bool) {
        let becomes = self.state.wait_for(|state| is_it(state));
        let found = tokio::time::timeout(SOON + SESSION, becomes).await.map(|state| state.is_ok());
        assert_eq!(found, Ok(true), "{what}: {:?}", self.state.borrow());
    }

    async fn has(&mut self, logs: usize) {
        self.becomes(
            "has its logs",
            |state| matches!(state, MemberState::Assigned(_, of) if of.len() == logs),
        )
        .await;
    }
}

/// librdkafka's consumer, which tells its logs as they change.
struct Plain {
    logs: watch::Receiver<Vec<GroupLog>>,
    /// Ends it once dropped.
    _wanted: watch::Sender<()>,
    task: JoinHandle<()>,
}

impl Plain {
    fn join(kafka: &Kafka, (group, topic): (&str, &str), more: &[(&str, &str)]) -> Self {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", kafka.bootstrap()).set("group.id", group);
        for (key, value) in more {
            config.set(*key, *value);
        }
        let consumer: BaseConsumer = config.create().unwrap();
        consumer.subscribe(&[topic]).unwrap();
        let (tell, logs) = watch::channel(Vec::new());
        let (wanted, until) = watch::channel(());
        let task = tokio::task::spawn_blocking(move || {
            while until.has_changed().is_ok() {
                let _ = consumer.poll(Duration::from_millis(50));
                let assigned = consumer.assignment().unwrap();
                let log = |of: rdkafka::topic_partition_list::TopicPartitionListElem<'_>| {
                    (Arc::from(of.topic()), of.partition())
                };
                tell.send_replace(assigned.elements().into_iter().map(log).collect());
            }
        });
        Self { logs, _wanted: wanted, task }
    }

    async fn leave(self) {
        drop(self._wanted);
        self.task.await.unwrap();
    }
}

/// Waits until each of so many partitions has one owner, and all owners have the same number of them.
async fn shared(topic: &str, partitions: i32, ours: &[&Ours], plain: Option<&Plain>) {
    until(format!("{partitions} partitions are shared"), SOON + SOON, async || {
        let shares = ours.iter().map(|of| of.logs()).chain(plain.map(|of| of.logs.borrow().clone()));
        let shares: Vec<_> = shares.collect();
        let mut all: Vec<_> = shares.concat();
        all.sort_unstable();
        let want: Vec<GroupLog> = (0..partitions).map(|of| (topic.into(), of)).collect();
        let is_fair = shares.iter().all(|share| share.len() == all.len() / shares.len());
        if all == want && is_fair { Ok(()) } else { Err(format!("{shares:?}")) }
    })
    .await;
}

fn position((topic, partition): &GroupLog, offset: i64) -> Commit {
    Commit { log: (Arc::clone(topic), *partition), offset, metadata: "text".into() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_share_a_group_with_librdkafka() {
    let kafka = Kafka::shared().await.unwrap();
    let topic = &kafka.topic("group", 12, &[]).await.unwrap();
    let bridges = [bridge(kafka), bridge(kafka)];
    let group = topic;
    let plain = Plain::join(kafka, (group, topic), &[("session.timeout.ms", "6000")]);
    let one = Ours::join(&bridges[0], wanted(group, None, topic));
    let two = Ours::join(&bridges[1], wanted(group, Some("two"), topic));
    let three = Ours::join(&bridges[0], wanted(group, None, topic));
    shared(topic, 12, &[&one, &two, &three], Some(&plain)).await;

    let logs = two.logs();
    let commits = vec![position(&logs[0], 5), position(&logs[1], 6)];
    let MemberState::Assigned(number, _) = *two.state.borrow() else { panic!("no share") };
    assert_eq!(two.member.commit(Some(number), commits.clone()).await, Ok(vec![Ok(()), Ok(())]));
    let refused = two.member.commit(Some(number - 1), vec![position(&logs[0], 7)]).await.unwrap();
    assert_eq!(refused[0].as_ref().map_err(|error| error.code), Err(27));
    let committed = bridges[0].committed(ClientKey::default(), group, &logs).await.unwrap();
    let want = [Ok(Some(commits[0].clone())), Ok(Some(commits[1].clone())), Ok(None)];
    assert_eq!(committed, want);

    three.member.leave().await;
    assert_eq!(*three.state.borrow(), MemberState::Ended(Ended::Left));
    shared(topic, 12, &[&one, &two], Some(&plain)).await;
    plain.leave().await;
    shared(topic, 12, &[&one, &two], None).await;
    // A member of ours leads by now, and looks for partitions. Meanwhile, one ends without a word.
    drop(one);
    kafka.grow_topic(topic, 14).await.unwrap();
    shared(topic, 14, &[&two], None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instance_is_taken_over_by_another_bridge() {
    let kafka = Kafka::shared().await.unwrap();
    let topic = &kafka.topic("taken", 4, &[]).await.unwrap();
    let group = topic;
    let (source, bridges) = (ClientKey::default(), [bridge(kafka), bridge(kafka)]);
    assert_eq!(bridges[1].find(source, group, "i").await, Ok(None));
    let mut first = Ours::join(&bridges[0], wanted(group, Some("i"), topic));
    first.has(4).await;
    let logs = first.logs();

    let found = bridges[1].find(source, group, "i").await.unwrap().expect("a member");
    assert_eq!(found, wanted(group, Some("i"), topic));
    let refused = bridges[1].commit(source, group, &[position(&logs[0], 1)]).await.unwrap_err();
    assert!(refused.message.ends_with("has members, and takes commits from them alone"), "{refused:?}");
    let mut second = Ours::join(&bridges[1], found);
    second.has(4).await;
    first.becomes("is fenced", |state| *state == MemberState::Ended(Ended::Fenced)).await;
    let late = first.member.commit(None, vec![position(&logs[0], 1)]).await.unwrap_err();
    assert!(late.message.contains("another member has joined"), "{late:?}");

    // Its logs are given up with what is kept, and go on from there.
    second.member.keep(vec![position(&logs[3], 7)]);
    let other = Ours::join(&bridges[0], wanted(group, None, topic));
    shared(topic, 4, &[&second, &other], None).await;
    let committed = bridges[0].committed(source, group, &logs).await.unwrap();
    assert_eq!(committed, [Ok(None), Ok(None), Ok(None), Ok(Some(position(&logs[3], 7)))]);
    other.member.leave().await;
    second.has(4).await;

    // A killed bridge: the instance is taken over before its session ends.
    drop(second);
    let found = bridges[0].find(source, group, "i").await.unwrap().expect("a member");
    let mut third = Ours::join(&bridges[0], found);
    third.has(4).await;
    third.member.subscribe([].into(), "other".into());
    third.has(0).await;
    let found = bridges[1].find(source, group, "i").await.unwrap().expect("a member");
    assert_eq!((found.topics.len(), &found.settings[..]), (0, &b"other"[..]));
    third.member.leave().await;
    assert_eq!(bridges[1].find(source, group, "i").await, Ok(None));
    assert_eq!(bridges[1].commit(source, group, &[position(&logs[0], 3)]).await, Ok(vec![Ok(())]));
}

/// The bridge of two instances is killed, and a newcomer elsewhere lets their group wait for them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instance_is_taken_over_while_its_group_waits_for_it() {
    let kafka = Kafka::shared().await.unwrap();
    let topic = &kafka.topic("waits", 3, &[]).await.unwrap();
    let group = topic;
    let (source, bridges) = (ClientKey::default(), [bridge(kafka), bridge(kafka)]);
    let slow = |instance| Membership { session_timeout: 5 * SESSION, ..wanted(group, Some(instance), topic) };
    let killed = ["i", "j"].map(|instance| Ours::join(&bridges[0], slow(instance)));
    let first = Ours::join(&bridges[0], slow("k"));
    shared(topic, 3, &[&killed[0], &killed[1], &first], None).await;
    drop((killed, first));
    let found = bridges[1].find(source, group, "k").await.unwrap().expect("a member");
    let (newcomer, back) = (Ours::join(&bridges[1], slow("new")), Ours::join(&bridges[1], found));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let find = async |instance| bridges[1].find(source, group, instance).await;
    let found = tokio::join!(find("i"), find("j"));
    let ours = [found.0, found.1].map(|found| Ours::join(&bridges[1], found.unwrap().expect("a member")));
    until("all have a share", SOON, async || {
        let shares = ours.iter().chain([&back, &newcomer]).map(|of| of.logs().len());
        let shares: Vec<_> = shares.collect();
        if shares.iter().sum::<usize>() == 3 && shares.iter().filter(|share| **share == 1).count() == 3 {
            Ok(())
        } else {
            Err(format!("{shares:?}"))
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instance_is_found_beside_members_of_each_protocol() {
    let kafka = Kafka::shared().await.unwrap();
    let (source, bridges) = (ClientKey::default(), [bridge(kafka), bridge(kafka)]);
    // Brokers have had that of KIP-848 since 4.0.
    let has_new = tools::kafka_version().is_none_or(|version| !version.starts_with("3."));
    for protocol in ["classic", "consumer"].into_iter().take(if has_new { 2 } else { 1 }) {
        let topic = &kafka.topic(protocol, 4, &[]).await.unwrap();
        let group = topic;
        let plain = [("group.protocol", protocol), ("group.instance.id", "j")];
        let plain = Plain::join(kafka, (group, topic), &plain);
        // First, since Kafka 4 lets none of KIP-848 into a classic group that has never been stable.
        shared(topic, 4, &[], Some(&plain)).await;
        let mut first = Ours::join(&bridges[0], wanted(group, Some("i"), topic));
        shared(topic, 4, &[&first], Some(&plain)).await;
        let foreign = bridges[1].find(source, group, "j").await.unwrap_err();
        assert!(foreign.message.contains("is a member that no bridge has made"), "{foreign:?}");
        let found = bridges[1].find(source, group, "i").await.unwrap().expect("a member");
        assert_eq!(found, wanted(group, Some("i"), topic));
        let second = Ours::join(&bridges[1], found);
        first.becomes("is fenced", |state| *state == MemberState::Ended(Ended::Fenced)).await;
        shared(topic, 4, &[&second], Some(&plain)).await;
        let log = &second.logs()[0];
        assert_eq!(second.member.commit(None, vec![position(log, 5)]).await, Ok(vec![Ok(())]), "{protocol}");
        second.member.leave().await;
        assert_eq!(bridges[0].find(source, group, "i").await, Ok(None));
        plain.leave().await;
    }
}
