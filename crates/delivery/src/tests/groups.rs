//! Subscriptions that are members of groups, at bridges that share one cluster with groups in memory.

use sluicegate_backend::groups::{Ended, MemberState};
use sluicegate_rights::{Rights, Topics};

use super::*;
use crate::cluster::Parts;
use crate::consumers::NewConsumer;
use crate::testing::IDLE_TIMEOUT;
use crate::testing::groups::at;

fn command(from: Start) -> SubscribeCommand {
    let source = Source { topic: TOPIC.to_owned(), from, ..Source::default() };
    SubscribeCommand { sources: vec![source], group: Some("g".into()), ..SubscribeCommand::default() }
}

/// A member of group `g` that begins at the first records.
async fn join(grant: &Grant) -> Subscription {
    let mut subscription = grant.subscribe(command(Start::Offset(0))).await.unwrap();
    assert_eq!(heard(&mut subscription).await, "subscribed to t");
    subscription
}

/// The next item but those of progress.
async fn heard(subscription: &mut Subscription) -> String {
    loop {
        return match soon(subscription).await {
            Some(Item::CaughtUp { .. }) => continue,
            Some(Item::Delivery { messages, .. }) if messages.is_empty() => continue,
            Some(Item::Delivery { next, messages, .. }) => {
                format!("{:?} of {}", offsets(&messages), next.partition)
            }
            Some(Item::Subscribed(topics)) => {
                assert_eq!(topics[0].partitions, []);
                format!("subscribed to {}", topics[0].topic)
            }
            Some(Item::Assigned { topics, .. }) => {
                let places = topics.iter().flat_map(|topic| &topic.partitions);
                let places = places.map(|(partition, offset)| format!(" {partition}@{offset}"));
                format!("assigned{}", places.collect::<String>())
            }
            Some(Item::Revoked) => "revoked".to_owned(),
            Some(Item::Skipped { from, to, .. }) => {
                format!("{from} to {} of {} skipped", to.offset, to.partition)
            }
            Some(Item::Retrying { error, .. }) => format!("retrying: {}", error.message),
            Some(Item::Ended { error, .. }) => format!("ended: {}", error.message),
            Some(other) => panic!("{other:?}"),
            None => "nothing".to_owned(),
        };
    }
}

/// Hears this next, one after the other.
async fn hears(subscription: &mut Subscription, want: &[&str]) {
    for (number, want) in want.iter().enumerate() {
        assert_eq!(heard(subscription).await, *want, "item {number}");
    }
}

/// The number of the next assignment.
async fn assignment(subscription: &mut Subscription) -> u64 {
    loop {
        if let Some(Item::Assigned { assignment, .. }) = soon(subscription).await {
            return assignment;
        }
    }
}

/// Listens until it hears this.
async fn until(subscription: &mut Subscription, want: &str) {
    let mut heard_before = Vec::new();
    while heard_before.last().is_none_or(|heard| heard != want) {
        heard_before.push(heard(subscription).await);
        assert!(heard_before.len() < 10, "{heard_before:?}");
    }
}

#[track_caller]
fn check(results: Result<Vec<Result<(), CommandError>>, CommandError>, want: &[i32]) {
    let codes = results.unwrap().into_iter().map(|result| result.err().map_or(0, |error| error.code));
    assert_eq!(codes.collect::<Vec<_>>(), want);
}

#[tokio::test(start_paused = true)]
async fn share_begins_at_the_commits_and_ends_with_the_rebalance() {
    let logs = Logs::default();
    let groups = &logs.backend().groups;
    let cluster = logs.cluster();
    let (grant, other) = (Grant::all(&cluster), Grant::all(&logs.cluster()));
    logs.append(0, 2);
    let mut first = join(&grant).await;
    hears(&mut first, &["assigned 0@0 1@0 2@0 3@0", "[0, 1] of 0"]).await;
    let member = first.member().unwrap().clone();
    check(grant.commit_of(&member, None, &[at(0, 1)]).await, &[0]);
    // The records in hand are another member's when their client has room for them.
    assert_eq!(heard(&mut first).await, "nothing");
    logs.append(1, 1);
    first.ready(usize::MAX).await;
    assert_eq!(first.in_hand().1, 1);
    let mut second = join(&other).await;
    assert_eq!(first.take(), Some(Item::Revoked));
    hears(&mut first, &["assigned 0@1 2@0", "[1] of 0"]).await;
    hears(&mut second, &["assigned 1@0 3@0", "[0] of 1"]).await;
    // Each commits what it has.
    check(grant.commit_of(&member, None, &[at(1, 1), at(0, 2), at(7, 1)]).await, &[27, 0, 27]);
    let gone = second.member().unwrap().clone();
    check(other.commit_of(&gone, None, &[at(0, 1), at(1, 1)]).await, &[27, 0]);
    // The commits of beginnings come first.
    assert_eq!(groups.commits("g")[4..], [(0, 1), (0, 2), (1, 1)]);
    let open = |grant: &Grant| grant.metrics().consumers.count();
    assert_eq!((open(&grant), open(&other)), (1, 1));
    let listed = grant.subscriptions();
    assert_eq!((listed[0].group.as_deref(), listed[0].partitions), (Some("g"), 2));
    // The end of a subscription is a leave.
    drop(second);
    hears(&mut first, &["revoked", "assigned 0@2 1@1 2@0 3@0"]).await;
    check(other.commit_of(&gone, None, &[at(1, 1)]).await, &[27]);
    assert_eq!((open(&other), groups.instances("g").len()), (0, 1));
    // A member that waits for its share has none, and hears of each change once, however late it listens.
    groups.hold(true);
    logs.append(2, 1);
    hears(&mut first, &["revoked", "nothing"]).await;
    check(grant.commit_of(&member, None, &[at(0, 2)]).await, &[27]);
    groups.hold(false);
    groups.hold(false);
    assert_eq!(heard(&mut first).await, "assigned 0@2 1@1 2@0 3@0");
    groups.hold(false);
    assert_eq!(heard(&mut first).await, "revoked");
    groups.hold(false);
    hears(&mut first, &["assigned 0@2 1@1 2@0 3@0", "[0] of 2"]).await;
    // The end of the bridge waits for it.
    drop(first);
    cluster.end_writes(Instant::now() + Duration::from_secs(1)).await;
    tokio::task::yield_now().await;
    assert_eq!(groups.instances("g"), []);
}

#[tokio::test(start_paused = true)]
async fn commit_of_an_earlier_assignment_is_refused() {
    let logs = Logs::default();
    let groups = &logs.backend().groups;
    let grant = Grant::all(&logs.cluster());
    logs.append(0, 9);
    let mut subscription = join(&grant).await;
    let first = assignment(&mut subscription).await;
    let member = subscription.member().unwrap().clone();
    check(grant.commit_of(&member, Some(first), &[at(0, 1)]).await, &[0]);
    // The client has not heard of it, and others can have read the logs in between.
    groups.hold(false);
    let refused = grant.commit_of(&member, Some(first), &[at(0, 2)]).await.unwrap().remove(0).unwrap_err();
    let words = "partition 0 of topic t was assigned again since assignment 1 (now 2): it is read again from the last commit";
    assert_eq!((refused.code, &*refused.message), (22, words));
    check(grant.commit_of(&member, Some(first), &[at(0, 2), at(7, 1)]).await, &[22, 27]);
    let second = assignment(&mut subscription).await;
    check(grant.commit_of(&member, Some(second), &[at(0, 3)]).await, &[0]);
    check(grant.commit_of(&member, None, &[at(0, 4)]).await, &[0]);
    groups.hold(true);
    check(grant.commit_of(&member, Some(second), &[at(0, 5)]).await, &[27]);
    assert_eq!(groups.commits("g")[4..], [(0, 1), (0, 3), (0, 4)]);
}

#[tokio::test(start_paused = true)]
async fn log_without_a_commit_begins_where_it_began_before_the_rebalance() {
    let logs = Logs::default();
    logs.append(0, 2);
    let grant = Grant::all(&logs.cluster());
    let mut member = grant.subscribe(command(Start::default())).await.unwrap();
    until(&mut member, "assigned 0@2 1@0 2@0 3@0").await;
    logs.append(0, 3);
    logs.backend().groups.hold(false);
    until(&mut member, "assigned 0@2 1@0 2@0 3@0").await;
    assert_eq!(heard(&mut member).await, "[2, 3, 4] of 0");
    let negative = grant.commit_of(&member.member().unwrap().clone(), None, &[at(0, -1)]).await;
    assert_eq!(negative.unwrap_err().fault, Fault::Invalid);
}

#[tokio::test(start_paused = true)]
async fn log_without_a_usable_commit_begins_as_the_client_says() {
    for (committed, from, want) in [
        (None, Start::default(), "assigned 0@4 1@0 2@0 3@0"),
        (None, Start::at(-1), "assigned 0@3 1@0 2@0 3@0"),
        (None, Start::Offset(0), "assigned 0@0 1@0 2@0 3@0"),
        (Some(3), Start::default(), "assigned 0@3 1@0 2@0 3@0"),
        (Some(4), Start::Offset(0), "assigned 0@4 1@0 2@0 3@0"),
        // Beyond the end: the topic is another one, or has lost records.
        (Some(5), Start::default(), "assigned 0@4 1@0 2@0 3@0"),
        (Some(5), Start::at(-1), "assigned 0@3 1@0 2@0 3@0"),
        // Deleted: what is left is read.
        (Some(1), Start::default(), "assigned 0@1 1@0 2@0 3@0; 1 to 2 of 0 skipped; [2, 3] of 0"),
    ] {
        let logs = Logs::default();
        logs.append(0, 4);
        logs.delete_before(0, 2);
        let grant = Grant::all(&logs.cluster());
        if let Some(offset) = committed {
            grant.commit("g", &[at(0, offset)]).await.unwrap();
        }
        let mut subscription = grant.subscribe(command(from)).await.unwrap();
        heard(&mut subscription).await;
        for want in want.split("; ") {
            assert_eq!(heard(&mut subscription).await, want, "{committed:?} {from:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn client_that_takes_nothing_ends_and_its_group_goes_on() {
    let logs = Logs::default();
    let (grant, other) = (Grant::all(&logs.cluster()), Grant::all(&logs.cluster()));
    let (mut idle, mut busy) = (join(&grant).await, join(&other).await);
    for (member, want) in [(&mut idle, "assigned 0@0 2@0"), (&mut busy, "assigned 1@0 3@0")] {
        until(member, want).await;
        assert_eq!(heard(member).await, "nothing");
    }
    // Without records, nobody waits.
    assert!(timeout(IDLE_TIMEOUT * 2, idle.attend()).await.is_err());
    (0..4).for_each(|partition| logs.append(partition, 1));
    assert_eq!(heard(&mut busy).await, "[0] of 1");
    let began = Instant::now();
    assert!(timeout(IDLE_TIMEOUT / 2, idle.attend()).await.is_err());
    assert_eq!((heard(&mut idle).await, idle.in_hand()), ("[0] of 0".to_owned(), (0, 0)), "it takes some");
    idle.attend().await;
    assert_eq!(began.elapsed(), IDLE_TIMEOUT / 2 + IDLE_TIMEOUT);
    assert_eq!(heard(&mut idle).await, "revoked");
    let words = "the client has taken no records for 300 s, and its group goes on without it \
                 (consumers.idle_timeout_ms): subscribe again";
    assert_eq!(heard(&mut idle).await, format!("ended: {words}"));
    until(&mut busy, "assigned 0@0 1@0 2@0 3@0").await;
}

#[tokio::test(start_paused = true)]
async fn member_tells_why_it_has_no_share() {
    let logs = Logs::default();
    let groups = &logs.backend().groups;
    let cluster = logs.cluster();
    let down = || CommandError::new(Fault::Transient, 0, "down");
    let grant = Grant::all(&cluster);
    let mut member = join(&grant).await;
    assert_eq!(heard(&mut member).await, "assigned 0@0 1@0 2@0 3@0");
    for _ in 0..2 {
        groups.tell("g", &MemberState::Joining(Some(down())));
        member.ready(1).await;
    }
    hears(&mut member, &["revoked", "retrying: down", "nothing"]).await;
    // Commits cannot be read for a while.
    groups.refuse(Some(down()));
    groups.hold(false);
    assert_eq!(heard(&mut member).await, "nothing");
    groups.refuse(None);
    assert_eq!(heard(&mut member).await, "assigned 0@0 1@0 2@0 3@0");
    let refused = CommandError::new(Fault::NotAuthorized, 30, "refused");
    groups.tell("g", &MemberState::Ended(Ended::Refused(refused)));
    hears(&mut member, &["revoked", "ended: refused"]).await;
    let mut member = join(&grant).await;
    assert!(heard(&mut member).await.starts_with("assigned"));
    let backend = Logs::default().cluster().backend();
    cluster.replace(Parts::new(backend, 9, cluster.reads(), None), Instant::now()).await;
    assert_eq!(heard(&mut member).await, "revoked");
    let words = "the cluster's configuration has changed, subscribe again";
    assert_eq!(heard(&mut member).await, format!("ended: {words}"));
}

#[tokio::test(start_paused = true)]
async fn member_needs_the_right_to_its_group_and_shares_it_with_consumers() {
    let logs = Logs::default();
    let cluster = logs.cluster();
    for (consume, code) in [(None, 29), (Topics::parse(b"other"), 30)] {
        let rights = Rights { read: Some(Topics::default()), consume, ..Rights::default() };
        let refused = Grant::of(&cluster, rights).subscribe(command(Start::default())).await.err().unwrap();
        assert_eq!((refused.fault, refused.code), (Fault::Forbidden, code));
    }
    let grant = Grant::all(&cluster);
    let mut member = join(&grant).await;
    assert_eq!(heard(&mut member).await, "assigned 0@0 1@0 2@0 3@0");
    let consumer = grant.create_consumer("g", NewConsumer::default()).await.unwrap();
    let topics = crate::consumers::Subscribed::Topics(vec![TOPIC.to_owned()]);
    consumer.subscribe(&grant, topics).await.unwrap();
    assert_eq!(heard(&mut member).await, "revoked");
    assert_eq!((heard(&mut member).await, consumer.assignment().len()), ("assigned 0@0 2@0".to_owned(), 2));
}
