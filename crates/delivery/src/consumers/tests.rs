//! Consumers in virtual time, at bridges that share one cluster with groups in memory.

use sluicegate_backend::System;
use sluicegate_backend::command::{ReadBounds, Source, SubscribeCommand};
use sluicegate_backend::groups::{Commit, Ended, GroupLog, MemberState, Membership};
use sluicegate_fair_share::ClientKey;
use sluicegate_rights::{Rights, Topics};
use tokio::time::{Instant, advance, timeout};

use super::*;
use crate::cluster::Parts;
use crate::grant::Grant;
use crate::testing::groups::{at, log};
use crate::testing::logs::Logs;
use crate::testing::records::{Never, offsets, reads};
use crate::testing::{IDLE_TIMEOUT, MAX_CONSUMERS};

/// A bridge with these logs.
fn bridge(logs: &Logs) -> Grant {
    Grant::all(&logs.cluster())
}

/// Settings of a consumer that begins at the first records.
fn settings(auto_commit: Option<u64>) -> ConsumerSettings {
    let auto_commit = auto_commit.map(Duration::from_secs);
    ConsumerSettings { reset: Reset::Earliest, auto_commit, ..ConsumerSettings::default() }
}

fn named(name: &str, settings: ConsumerSettings) -> NewConsumer {
    NewConsumer { instance: Some(name.into()), settings }
}

/// A consumer of topic `t`.
async fn subscribed(grant: &Grant, name: &str, settings: ConsumerSettings) -> Arc<Consumer> {
    let consumer = grant.create_consumer("g", named(name, settings)).await.unwrap();
    consumer.subscribe(grant, topics(&["t"])).await.unwrap();
    consumer
}

/// Logs, a bridge with them, and a consumer there.
async fn consuming(settings: ConsumerSettings) -> (Logs, Grant, Arc<Consumer>) {
    let logs = Logs::default();
    let grant = bridge(&logs);
    let consumer = subscribed(&grant, "c", settings).await;
    (logs, grant, consumer)
}

fn topics(names: &[&str]) -> Subscribed {
    Subscribed::Topics(names.iter().map(|name| (*name).into()).collect())
}

async fn poll_for(grant: &Grant, consumer: &Arc<Consumer>, seconds: u64) -> Result<Polled, ConsumerError> {
    let bounds = ReadBounds { wait: Some(Duration::from_secs(seconds)), ..ReadBounds::default() };
    consumer.poll(grant, bounds, &mut Never).await
}

/// Each record by partition and offset.
fn records(polled: &Polled) -> Vec<(i32, i64)> {
    let of = |((_, partition), chunk): &(GroupLog, sluicegate_backend::Chunk)| {
        offsets(&chunk.messages).into_iter().map(|offset| (*partition, offset)).collect::<Vec<_>>()
    };
    polled.records.iter().flat_map(of).collect()
}

/// The records that a poll gives at once, which the client takes.
async fn take(grant: &Grant, consumer: &Arc<Consumer>) -> Vec<(i32, i64)> {
    taken(poll_for(grant, consumer, 0).await.unwrap())
}

/// The records of a poll that waits until something happens, after so many milliseconds.
async fn poll_until(
    grant: &Grant,
    consumer: &Arc<Consumer>,
    millis: u64,
    happens: impl FnOnce(),
) -> Vec<(i32, i64)> {
    let began = Instant::now();
    let (polled, ()) = tokio::join!(poll_for(grant, consumer, 30), async {
        advance(Duration::from_millis(millis)).await;
        happens();
    });
    assert_eq!(began.elapsed().as_millis(), millis.into());
    records(&polled.unwrap())
}

fn taken(polled: Polled) -> Vec<(i32, i64)> {
    let records = records(&polled);
    polled.receipt.taken();
    records
}

/// Lets tasks run for a while.
async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_millis(seconds * 1000 + 1)).await;
}

#[tokio::test(start_paused = true)]
async fn poll_reads_on_from_what_the_client_has_taken() {
    let (logs, grant, consumer) = consuming(settings(None)).await;
    logs.append(0, 2);
    let untaken = poll_for(&grant, &consumer, 0).await.unwrap();
    assert_eq!(records(&untaken), [(0, 0), (0, 1)]);
    drop(untaken);
    assert_eq!(take(&grant, &consumer).await, [(0, 0), (0, 1)], "the answer was lost");
    assert_eq!(poll_until(&grant, &consumer, 4000, || logs.append(3, 1)).await, [(3, 0)]);
    consumer.seek(&grant, vec![(log(0), 1)]).await.unwrap();
    assert_eq!(take(&grant, &consumer).await, [(0, 1), (3, 0)]);
    consumer.seek_to(&grant, LogEnd::Beginning, vec![log(0), log(3)]).await.unwrap();
    consumer.seek_to(&grant, LogEnd::End, vec![log(3)]).await.unwrap();
    assert_eq!(take(&grant, &consumer).await, [(0, 0), (0, 1)]);
    let elsewhere = consumer.seek(&grant, vec![(log(0), 0), (log(9), 0)]).await;
    assert_eq!(elsewhere, Err(ConsumerError::NotAssigned(log(9))));
    let elsewhere = consumer.seek_to(&grant, LogEnd::Beginning, vec![log(0), log(9)]).await;
    assert_eq!(elsewhere, Err(ConsumerError::NotAssigned(log(9))), "rather than that it is not there");
    assert_eq!(take(&grant, &consumer).await, [], "none was moved");
}

/// As with a gateway that is killed.
#[tokio::test(start_paused = true)]
async fn answer_whose_connection_ends_before_the_client_is_back_is_given_again() {
    let (logs, grant, consumer) = consuming(settings(Some(0))).await;
    logs.append(0, 2);
    let send = async |connection: &Arc<()>| {
        let mut polled = poll_for(&grant, &consumer, 0).await.unwrap();
        polled.receipt.sent_over(Arc::downgrade(connection));
        taken(polled)
    };
    let gateway = Arc::new(());
    assert_eq!(send(&gateway).await, [(0, 0), (0, 1)]);
    drop(gateway);
    pass(2).await;
    let gateway = Arc::new(());
    assert_eq!(send(&gateway).await, [(0, 0), (0, 1)]);
    logs.append(0, 1);
    assert_eq!(send(&gateway).await, [(0, 2)]);
    pass(2).await;
    assert_eq!(logs.backend().groups.commits("g").last(), Some(&(0, 2)));
    drop(gateway);
    // A client that commits an answer has it.
    consumer.commit(&grant, Some(vec![at(0, 3)])).await.unwrap();
    assert_eq!(take(&grant, &consumer).await, []);
    let gateway = Arc::new(());
    logs.append(0, 1);
    assert_eq!(send(&gateway).await, [(0, 3)]);
    drop(gateway);
    consumer.commit(&grant, None).await.unwrap();
    assert_eq!(take(&grant, &consumer).await, [(0, 3)], "all that was given does not have it");
}

#[tokio::test(start_paused = true)]
async fn second_poll_waits_for_the_answer_of_the_first_one() {
    let (logs, grant, consumer) = consuming(settings(Some(0))).await;
    logs.append(0, 1);
    let first = poll_for(&grant, &consumer, 0).await.unwrap();
    let began = Instant::now();
    assert_eq!(records(&poll_for(&grant, &consumer, 3).await.unwrap()), []);
    assert_eq!(began.elapsed(), Duration::from_secs(3));
    logs.append(0, 1);
    logs.backend().groups.commits("g");
    let (second, ()) = tokio::join!(poll_for(&grant, &consumer, 3), async { first.receipt.taken() });
    assert_eq!(records(&second.unwrap()), [(0, 1)]);
    pass(2).await;
    assert_eq!(logs.backend().groups.commits("g"), [], "a poll that began before the answer proves nothing");
}

#[tokio::test(start_paused = true)]
async fn records_that_the_client_must_not_see_count_as_read() {
    let logs = Logs::default();
    logs.set_keys(|offset| if offset == 5 { "mine" } else { "other" });
    let rights = Rights { consume: Some(Topics::default()), ..reads("mine") };
    let grant = Grant::of(&logs.cluster(), rights);
    let consumer = subscribed(&grant, "c", settings(None)).await;
    let committed = async || {
        consumer.commit(&grant, None).await.unwrap();
        let committed = consumer.committed(&grant, &[log(0)]).await.unwrap();
        committed[0].clone().unwrap().map(|commit| commit.offset)
    };
    logs.append(0, 5);
    assert_eq!((take(&grant, &consumer).await, committed().await), (vec![], Some(5)));
    logs.append(0, 5);
    assert_eq!((take(&grant, &consumer).await, committed().await), (vec![(0, 5)], Some(10)));
}

#[tokio::test(start_paused = true)]
async fn rebalance_ends_a_wait_and_answers_no_log_that_is_gone() {
    let logs = Logs::default();
    let (grant, other) = (bridge(&logs), bridge(&logs));
    let consumer = subscribed(&grant, "a", settings(None)).await;
    assert_eq!(take(&grant, &consumer).await, []);
    let (polled, second) = tokio::join!(poll_for(&grant, &consumer, 10), async {
        advance(Duration::from_secs(1)).await;
        // Partitions 1 and 3 go to the new member while the first one is woken by their records.
        logs.append(1, 1);
        let second = subscribed(&other, "b", settings(None)).await;
        logs.append(0, 1);
        second
    });
    assert_eq!(records(&polled.unwrap()), [(0, 0)]);
    assert_eq!(take(&other, &second).await, [(1, 0)]);
    // A member that waits for its share has none.
    let groups = &logs.backend().groups;
    groups.hold(true);
    assert_eq!(poll_until(&grant, &consumer, 2000, || groups.hold(false)).await, [(0, 0)]);
    groups.hold(true);
    let began = Instant::now();
    assert_eq!(records(&poll_for(&grant, &consumer, 3).await.unwrap()), []);
    assert_eq!(began.elapsed().as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn bridge_commits_what_the_client_had_when_it_came_back() {
    let (logs, grant, consumer) = consuming(settings(Some(5))).await;
    let groups = &logs.backend().groups;
    logs.append(0, 3);
    assert_eq!(take(&grant, &consumer).await.len(), 3);
    pass(20).await;
    let began: Vec<_> = (0..4).map(|partition| (partition, 0)).collect();
    assert_eq!(groups.commits("g"), began, "where a reset began, for whoever takes the consumer over");
    let untaken = poll_for(&grant, &consumer, 0).await.unwrap();
    drop(untaken);
    pass(0).await;
    assert_eq!(groups.commits("g"), [(0, 3)]);
    for _ in 0..3 {
        logs.append(0, 1);
        assert_eq!(take(&grant, &consumer).await.len(), 1);
        pass(1).await;
    }
    assert_eq!(groups.commits("g"), [], "the interval is not over");
    pass(3).await;
    assert_eq!(groups.commits("g"), [(0, 5)], "and the last answer is not proven");
    // Before logs are given up, at once.
    take(&grant, &consumer).await;
    subscribed(&grant, "other", settings(None)).await;
    assert_eq!(groups.commits("g"), [(0, 6)]);
    // A commit of the client holds until it comes back.
    logs.append(0, 2);
    take(&grant, &consumer).await;
    consumer.commit(&grant, Some(vec![at(0, 7)])).await.unwrap();
    grant.delete_consumer(&consumer).await.unwrap();
    assert_eq!(groups.commits("g"), [(0, 7)]);
    assert_eq!(poll_for(&grant, &consumer, 9).await.err(), Some(ConsumerError::Unknown));
}

#[tokio::test(start_paused = true)]
async fn log_that_stays_is_read_on_unless_others_have_committed_meanwhile() {
    let logs = Logs::default();
    let (grant, other) = (bridge(&logs), bridge(&logs));
    let consumer = subscribed(&grant, "a", settings(Some(3600))).await;
    logs.append(0, 4);
    assert_eq!(take(&grant, &consumer).await.len(), 4);
    pass(1).await;
    let second = subscribed(&other, "b", settings(None)).await;
    assert_eq!(take(&grant, &consumer).await, [], "partition 0 stays");
    // It is the other one's for a while, which the first one does not notice.
    consumer.subscribe(&grant, topics(&["x"])).await.unwrap();
    logs.append(0, 4);
    assert_eq!(take(&other, &second).await.len(), 4);
    second.commit(&other, Some(vec![at(0, 7)])).await.unwrap();
    other.delete_consumer(&second).await.unwrap();
    consumer.subscribe(&grant, topics(&["t"])).await.unwrap();
    assert_eq!(take(&grant, &consumer).await, [(0, 7)]);
}

#[tokio::test(start_paused = true)]
async fn commit_after_an_unnoticed_rebalance_leaves_logs_of_others_alone() {
    let logs = Logs::default();
    let (grant, other) = (bridge(&logs), bridge(&logs));
    logs.append(1, 3);
    let first = subscribed(&grant, "a", settings(None)).await;
    assert_eq!(take(&grant, &first).await.len(), 3);
    let second = subscribed(&other, "b", settings(None)).await;
    assert_eq!(second.assignment(), [log(1), log(3)]);
    assert_eq!(take(&other, &second).await.len(), 3);
    second.commit(&other, Some(vec![at(1, 3)])).await.unwrap();
    for commits in [None, Some(vec![at(1, 2)])] {
        let results = first.commit(&grant, commits).await.unwrap();
        assert!(results.iter().any(|result| result.as_ref().is_err_and(|error| error.code == 27)));
    }
    // It has them back, and has not read from them since.
    other.delete_consumer(&second).await.unwrap();
    let results = first.commit(&grant, Some(vec![at(1, 2)])).await.unwrap();
    assert!(results[0].is_err(), "another member had it meanwhile");
    let committed = grant.committed("g", &[log(1)]).await.unwrap();
    assert_eq!(committed[0].clone().unwrap().map(|commit| commit.offset), Some(3));
}

#[tokio::test(start_paused = true)]
async fn consumer_is_listed_with_its_lag_and_ended_by_an_operator() {
    let logs = Logs::default();
    let cluster = logs.cluster();
    let grant = Grant::all(&cluster);
    let consumer = subscribed(&grant, "c", settings(None)).await;
    logs.append(0, 3);
    take(&grant, &consumer).await;
    logs.append(0, 2);
    let [client] = &*cluster.open_clients() else { panic!("one consumer") };
    let (group, name) = client.consumer.as_ref().unwrap();
    assert_eq!((client.kind.label(), &**group, &**name), ("consumer", "g", "c"));
    let [listed] = &*client.grant.subscriptions() else { panic!("one topic") };
    assert_eq!((&*listed.topic, listed.group.as_deref(), listed.lag), ("t", Some("g"), Some(2)));
    let lags = cluster.subscriptions.groups(logs.backend());
    assert_eq!(lags.into_values().collect::<Vec<_>>(), [2]);
    assert_eq!(grant.subscriptions(), [], "of the request that created it");
    client.grant.end();
    drop(consumer);
    pass(1).await;
    assert!(cluster.open_clients().is_empty());
    assert!(matches!(grant.consumer("g", "c").await, Err(ConsumerError::Unknown)), "it has left its group");
}

#[tokio::test(start_paused = true)]
async fn idle_consumer_commits_and_leaves() {
    let (logs, grant, consumer) = consuming(settings(Some(3600))).await;
    let groups = &logs.backend().groups;
    logs.append(0, 1);
    take(&grant, &consumer).await;
    pass(1).await;
    groups.commits("g");
    let half = IDLE_TIMEOUT.as_secs() / 2 + 10;
    pass(half).await;
    take(&grant, &consumer).await;
    pass(half).await;
    assert_eq!(groups.instances("g").len(), 1, "it was used");
    drop(consumer);
    pass(half).await;
    assert_eq!((groups.instances("g").len(), groups.commits("g")), (0, vec![(0, 1)]));
    assert_eq!(grant.consumer("g", "c").await.err(), Some(ConsumerError::Unknown));
}

#[tokio::test(start_paused = true)]
async fn reset_decides_where_there_is_no_position() {
    for (reset, want) in [
        (Reset::Earliest, [Ok(vec![(0, 2), (0, 3)]), Ok(vec![(0, 5)])]),
        (Reset::Latest, [Ok(vec![]), Ok(vec![])]),
        (Reset::Error, [0; 2].map(|_| Err(ConsumerError::NoPosition(log(0))))),
    ] {
        let logs = Logs::default();
        logs.append(0, 4);
        logs.delete_before(0, 2);
        let grant = bridge(&logs);
        let consumer = subscribed(&grant, "c", ConsumerSettings { reset, ..settings(None) }).await;
        let polled = async || Ok(taken(poll_for(&grant, &consumer, 0).await?));
        let [first, second] = want;
        assert_eq!(polled().await, first, "{reset:?}");
        let commits = (0..4).map(|partition| at(partition, logs.end(partition))).collect();
        consumer.commit(&grant, Some(commits)).await.unwrap();
        assert!(polled().await.is_ok(), "{reset:?}");
        // The position is not in the log any more.
        logs.append(0, 2);
        logs.delete_before(0, 5);
        consumer.seek(&grant, vec![(log(0), 1)]).await.unwrap();
        let found = match polled().await {
            Ok(none) if none.is_empty() => polled().await,
            found => found,
        };
        assert_eq!(found, second, "{reset:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn other_bridge_takes_a_consumer_over() {
    let logs = Logs::default();
    let (one, other) = (bridge(&logs), bridge(&logs));
    let stored = ConsumerSettings { extra: "json".into(), committed: true, ..settings(Some(3600)) };
    let first = subscribed(&one, "c", stored.clone()).await;
    logs.append(0, 3);
    take(&one, &first).await;
    pass(0).await;
    for grant in [&one, &other] {
        let taken = grant.create_consumer("g", named("c", settings(None))).await;
        assert_eq!(taken.err(), Some(ConsumerError::Taken));
    }
    let waits = poll_for(&one, &first, 30);
    let (polled, second) = tokio::join!(waits, other.consumer("g", "c"));
    let second = second.unwrap();
    assert_eq!(records(&polled.unwrap()), [], "the one before is fenced, and its poll ends");
    assert_eq!((second.settings(), second.subscription()), (&stored, vec!["t".to_owned()]));
    // The poll that waited was the proof of the first three, but they were not committed.
    assert_eq!(take(&other, &second).await.len(), 3, "repeats, and no loss");
    take(&other, &second).await;
    second.commit(&other, None).await.unwrap();
    logs.append(0, 1);
    // A client that alternates.
    let third = one.consumer("g", "c").await.unwrap();
    assert!(!Arc::ptr_eq(&first, &third));
    assert_eq!(take(&one, &third).await, [(0, 3)]);
    assert!(Arc::ptr_eq(&third, &one.consumer("g", "c").await.unwrap()));
    third.commit(&one, None).await.unwrap();
    pass(1).await;
    let fourth = other.consumer("g", "c").await.unwrap();
    assert_eq!(take(&other, &fourth).await, [], "the second has not noticed the third");
    let refused = CommandError::new(Fault::Rejected, 30, "refused");
    logs.backend().groups.tell("g", &MemberState::Ended(Ended::Refused(refused.clone())));
    pass(2).await;
    assert_eq!(other.consumer("g", "c").await.err(), Some(refused.into()), "told once");
    assert!(!Arc::ptr_eq(&fourth, &other.consumer("g", "c").await.unwrap()));
    pass(2).await;
    assert_eq!(one.metrics().consumers.count() + other.metrics().consumers.count(), 5, "held here");
}

#[tokio::test(start_paused = true)]
async fn consumer_that_began_at_the_end_misses_nothing_when_it_is_taken_over() {
    let logs = Logs::default();
    let (one, other) = (bridge(&logs), bridge(&logs));
    let at_the_end = ConsumerSettings { reset: Reset::Latest, ..settings(Some(3600)) };
    let first = subscribed(&one, "c", at_the_end).await;
    logs.append(0, 2);
    assert_eq!(take(&one, &first).await, []);
    pass(0).await;
    logs.append(0, 1);
    let second = other.consumer("g", "c").await.unwrap();
    assert_eq!(take(&other, &second).await, [(0, 2)]);
    // New records begin where the log was cut off, and are not to be skipped by the next one either.
    logs.append(0, 3);
    logs.delete_before(0, 5);
    assert_eq!(take(&other, &second).await, []);
    pass(1).await;
    logs.append(0, 1);
    let third = one.consumer("g", "c").await.unwrap();
    assert_eq!(take(&one, &third).await, [(0, 6)]);
}

#[tokio::test(start_paused = true)]
async fn member_of_another_program_is_not_taken_over() {
    let logs = Logs::default();
    let grant = bridge(&logs);
    let membership = Membership {
        group: "g".into(),
        instance: Some("java".into()),
        topics: [Arc::from("t")].into(),
        settings: [][..].into(),
        session_timeout: Duration::from_secs(10),
    };
    let groups = logs.backend().groups.clone();
    let _member = sluicegate_backend::groups::Groups::join(&groups, ClientKey::UNKNOWN, membership);
    assert_eq!(grant.consumer("g", "java").await.err(), Some(ConsumerError::Unknown));
    let taken = grant.create_consumer("g", named("java", settings(None))).await;
    assert_eq!(taken.err(), Some(ConsumerError::Taken));
    for name in ["", "a b", &"a".repeat(250)] {
        let refused = grant.create_consumer("g", named(name, settings(None))).await;
        assert!(matches!(refused, Err(ConsumerError::Invalid(_))), "{name}");
        assert_eq!(grant.consumer("g", name).await.err(), Some(ConsumerError::Unknown));
    }
    let long = ConsumerSettings { extra: "x".repeat(2000), ..settings(None) };
    let refused = grant.create_consumer("g", NewConsumer { instance: None, settings: long }).await;
    assert!(matches!(refused, Err(ConsumerError::Invalid(_))));
}

#[tokio::test(start_paused = true)]
async fn rights_hold_for_groups_and_for_topics() {
    let logs = Logs::default();
    let rights = |read: &str, consume: &str| {
        let list = |text: &str| Topics::parse(text.as_bytes());
        Rights { read: list(read), write: None, consume: list(consume) }
    };
    let cluster = logs.cluster();
    let grant = Grant::of(&cluster, rights("a", "g"));
    let wide = Grant::of(&cluster, rights("a,b.*", "g*"));
    let new = || NewConsumer { instance: None, settings: settings(None) };
    let text = |refused: Result<Arc<Consumer>, ConsumerError>| refused.err().unwrap().to_string();
    let none = Grant::of(&cluster, rights("a", "")).create_consumer("g", new()).await;
    assert_eq!(text(none), "this route does not let clients consume in groups");
    let denied = "the client may not consume in group other on this route";
    assert_eq!(text(grant.create_consumer("other", new()).await), denied);
    assert_eq!(text(grant.consumer("other", "c").await), denied);
    let consumer = grant.create_consumer("g", new()).await.unwrap();
    assert_eq!(poll_for(&grant, &consumer, 9).await.err(), Some(ConsumerError::NotSubscribed));
    let refused = consumer.subscribe(&grant, topics(&["a", "b.1"])).await.unwrap_err();
    assert_eq!(refused.to_string(), "the client may not read topic b.1 on this route");
    // A pattern grants nothing.
    consumer.subscribe(&grant, Subscribed::Pattern(".*".into())).await.unwrap();
    assert_eq!(consumer.subscription(), ["a"]);
    pass(29).await;
    take(&wide, &consumer).await;
    assert_eq!(consumer.subscription(), ["a"]);
    pass(2).await;
    take(&wide, &consumer).await;
    assert_eq!(consumer.subscription(), ["a", "b.1", "b.2"], "topics are looked at again");
    // The rights are those of the one who polls.
    let refused = poll_for(&grant, &consumer, 0).await.err().unwrap();
    assert_eq!(refused.to_string(), "the client may not read topic b.1 on this route");
    assert_eq!(take(&grant, &consumer).await, []);
    assert_eq!(consumer.subscription(), ["a"]);
    let of_b = vec![Commit { log: ("b.1".into(), 0), ..at(0, 1) }];
    assert!(grant.commit("g", &of_b).await.is_err() && consumer.commit(&grant, Some(of_b)).await.is_err());
    assert!(grant.committed("g", &[("b.1".into(), 0)]).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn assigned_partitions_and_a_subscription_exclude_each_other() {
    let logs = Logs::default();
    let groups = &logs.backend().groups;
    let grant = bridge(&logs);
    let consumer = grant.create_consumer("g", named("c", settings(Some(1)))).await.unwrap();
    consumer.assign(&grant, vec![log(2), log(1), log(2)]).await.unwrap();
    assert_eq!(consumer.assignment(), [log(1), log(2)]);
    assert_eq!(groups.instances("g"), [], "nobody in the group notices");
    assert_eq!(consumer.subscribe(&grant, topics(&["t"])).await, Err(ConsumerError::Conflict));
    logs.append(1, 2);
    logs.append(3, 1);
    assert_eq!(take(&grant, &consumer).await, [(1, 0), (1, 1)]);
    // A partition that stays is read on.
    consumer.assign(&grant, vec![log(1), log(3)]).await.unwrap();
    assert_eq!(take(&grant, &consumer).await, [(3, 0)]);
    take(&grant, &consumer).await;
    pass(2).await;
    assert_eq!(groups.commits("g").last(), Some(&(3, 1)));
    consumer.unsubscribe(&grant).await.unwrap();
    consumer.subscribe(&grant, topics(&["t"])).await.unwrap();
    assert_eq!(consumer.assign(&grant, vec![log(1)]).await, Err(ConsumerError::Conflict));
    assert_eq!(take(&grant, &consumer).await, [], "it goes on from what is committed");
    assert_eq!(consumer.assignment().len(), 4);
    consumer.unsubscribe(&grant).await.unwrap();
    assert_eq!((consumer.subscription().len(), consumer.assignment().len()), (0, 0));
    assert_eq!(groups.instances("g").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn many_partitions_are_polled_in_turns() {
    let logs = Logs::default();
    let grant = bridge(&logs);
    let consumer = grant.create_consumer("g", named("c", settings(None))).await.unwrap();
    let count = 600;
    consumer.assign(&grant, (0..count).map(log).collect()).await.unwrap();
    logs.append(count - 1, 1);
    assert_eq!(take(&grant, &consumer).await, [(count - 1, 0)]);
    (0..count).for_each(|partition| logs.append(partition, 1));
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..3 {
        seen.extend(take(&grant, &consumer).await);
    }
    assert_eq!(seen.len(), 600);
    // The last window waits, too.
    assert_eq!(poll_until(&grant, &consumer, 3000, || logs.append(300, 1)).await, [(300, 1)]);
    let many = (0..=i32::try_from(MAX_LOGS).unwrap()).map(log).collect();
    assert!(matches!(consumer.assign(&grant, many).await, Err(ConsumerError::Invalid(_))));
}

#[tokio::test(start_paused = true)]
async fn partition_that_cannot_be_read_delays_no_other() {
    let (logs, grant, consumer) = consuming(settings(None)).await;
    take(&grant, &consumer).await;
    let down = || CommandError::new(Fault::Transient, 0, "down");
    logs.break_with(0, down());
    assert_eq!(poll_until(&grant, &consumer, 700, || logs.append(1, 1)).await, [(1, 0)]);
    take(&grant, &consumer).await;
    let began = Instant::now();
    assert_eq!(records(&poll_for(&grant, &consumer, 3).await.unwrap()), []);
    (1..4).for_each(|partition| logs.break_with(partition, down()));
    let failed = poll_for(&grant, &consumer, 3).await.err();
    assert_eq!((failed, began.elapsed().as_secs()), (Some(down().into()), 6));
    logs.mend();
    logs.append(0, 1);
    assert_eq!(take(&grant, &consumer).await, [(0, 0)]);
    // The group's positions cannot be read.
    let (groups, other) = (&logs.backend().groups, bridge(&logs));
    groups.refuse(Some(down()));
    let taken = other.consumer("g", "c").await.unwrap();
    assert_eq!(poll_for(&other, &taken, 1).await.err(), Some(down().into()));
    groups.refuse(None);
    assert_eq!(take(&other, &taken).await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn drain_commits_and_does_not_leave() {
    let logs = Logs::default();
    let groups = &logs.backend().groups;
    let (cluster, other) = (logs.cluster(), bridge(&logs));
    let grant = Grant::all(&cluster);
    let consumer = subscribed(&grant, "c", settings(Some(3600))).await;
    logs.append(0, 2);
    take(&grant, &consumer).await;
    pass(1).await;
    groups.commits("g");
    assert_eq!(poll_until(&grant, &consumer, 1000, || cluster.drain.begin(1, Duration::ZERO)).await, []);
    cluster.end_writes(Instant::now() + Duration::from_secs(1)).await;
    assert_eq!((groups.commits("g"), groups.instances("g").len()), (vec![(0, 2)], 1));
    let created = grant.create_consumer("g", NewConsumer::default()).await;
    for refused in [grant.consumer("g", "c").await, created] {
        assert!(matches!(refused, Err(ConsumerError::Command(error)) if error.fault == Fault::Transient));
    }
    drop(consumer);
    logs.append(0, 1);
    let second = other.consumer("g", "c").await.unwrap();
    assert_eq!(take(&other, &second).await, [(0, 2)], "neither a repeat nor a loss");
}

#[tokio::test(start_paused = true)]
async fn drain_waits_for_the_end_of_a_rebalance_for_a_while() {
    for (held, want) in [(0, 0), (2, 2), (60, 5)] {
        let logs = Logs::default();
        let (cluster, groups) = (logs.cluster(), logs.backend().groups.clone());
        subscribed(&Grant::all(&cluster), "c", settings(None)).await;
        groups.hold(true);
        let began = Instant::now();
        tokio::spawn(async move {
            sleep(Duration::from_secs(held)).await;
            groups.hold(false);
        });
        cluster.drain.begin(1, Duration::ZERO);
        cluster.consumers.stop().await;
        assert_eq!(began.elapsed().as_secs(), want);
    }
}

#[tokio::test(start_paused = true)]
async fn consumers_of_a_replaced_backend_begin_again() {
    let logs = Logs::default();
    let (cluster, after) = (logs.cluster(), Logs::default());
    let grant = Grant::all(&cluster);
    let consumer = subscribed(&grant, "c", settings(Some(1))).await;
    logs.append(0, 1);
    take(&grant, &consumer).await;
    let backend = after.cluster_of(System::Kafka).backend();
    cluster.replace(Parts::new(backend, 9, cluster.reads(), None), Instant::now()).await;
    drop(consumer);
    pass(2).await;
    assert_eq!(grant.metrics().consumers.count(), 0);
    assert_eq!(logs.backend().groups.instances("g").len(), 1, "it has not left");
    // A bridge whose client cannot be admitted keeps nothing.
    pass(31).await;
    assert_eq!(logs.backend().groups.instances("g"), []);
}

#[tokio::test(start_paused = true)]
async fn greedy_client_leaves_consumers_to_others() {
    let cluster = Logs::default().cluster();
    let client =
        |address: &[u8]| Grant::new(Arc::clone(&cluster), ClientKey::parse(address), None, Rights::all());
    let (greedy, other) = (client(b"192.0.2.1"), client(b"192.0.2.2"));
    let new = || NewConsumer { instance: None, settings: settings(None) };
    let mut held = Vec::new();
    let refused = loop {
        // Each in a group of its own: a group's rebalances are not the matter here.
        match greedy.create_consumer(&format!("g{}", held.len()), new()).await {
            Ok(consumer) => held.push(consumer),
            Err(refused) => break refused,
        }
    };
    assert_eq!(held.len(), MAX_CONSUMERS * 3 / 4);
    let words = "too many consumers at this bridge for this client (limits.consumers = 1000)";
    assert_eq!(refused.to_string(), words);
    let source = Source { topic: "t".into(), ..Source::default() };
    let group = Some("g".to_owned());
    let member = SubscribeCommand { sources: vec![source], group, ..SubscribeCommand::default() };
    let refused = greedy.subscribe(member.clone()).await.err().unwrap();
    assert_eq!((refused.message.as_str(), refused.fault), (words, Fault::Transient));
    assert!(other.subscribe(member).await.is_ok());
    let bystander = timeout(Duration::from_secs(1), other.create_consumer("g", new())).await.unwrap();
    assert!(bystander.is_ok());
    greedy.delete_consumer(&held.pop().unwrap()).await.unwrap();
    assert!(greedy.create_consumer("g", new()).await.is_ok());
}

/// Ends each wait at once, as a bridge without room for one.
#[tokio::test(start_paused = true)]
async fn poll_without_room_to_wait_is_answered_at_once() {
    let (logs, grant, consumer) = consuming(settings(None)).await;
    let began = Instant::now();
    let bounds = ReadBounds { wait: Some(Duration::from_secs(9)), ..ReadBounds::default() };
    let poll = async || records(&consumer.poll(&grant, bounds, &mut ()).await.unwrap());
    // At the ends of logs, behind another poll, and without a share.
    assert_eq!(poll().await, []);
    let other = poll_for(&grant, &consumer, 0).await.unwrap();
    assert_eq!(poll().await, []);
    drop(other);
    logs.backend().groups.hold(true);
    assert_eq!(poll().await, []);
    assert_eq!(began.elapsed(), Duration::ZERO);
}
