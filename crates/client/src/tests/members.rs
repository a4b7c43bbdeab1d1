//! Members of consumer groups.

use sluicegate_protocol::kafka_subscription_event::{Assigned, CaughtUp, Event, Revoked};
use sluicegate_protocol::{CmdKafkaCommit, KafkaCommitResp, KafkaCommitResult};

use super::subscribing::{delivery, of_t};
use super::*;
use crate::Member;

#[tokio::test]
async fn commits_have_what_was_returned_also_of_a_partition_that_begins_later() {
    let (client, server) = session(async |mut peer: Peer| {
        let (sequence, group) = joined(&mut peer).await;
        let begun = KafkaSubscribedResp { topics: topics(), snapshot: false };
        peer.answer(sequence, Resp::KafkaSubscribedResp(begun)).await;
        peer.answer(sequence, delivery(0, &[5, 6])).await;
        let caught_up = CaughtUp { topic: "t".into(), partition: 1, next_offset: 9, open_transaction: None };
        peer.answer(sequence, event(Event::CaughtUp(caught_up))).await;
        let (answer, commit) = peer.request().await;
        peer.answer(answer, results(&[0, 0])).await;
        // Nothing was returned since: the next commit is the one that names its offset.
        let (answer, at) = peer.request().await;
        peer.answer(answer, results(&[0])).await;
        (group, sequence, [commit, at])
    })
    .await;
    let mut member = client.join("g", of_t());
    let names = updates(&mut member, 5).await;
    assert_eq!(names, ["subscribed", "assigned", "subscribed", "delivery", "caught up"]);
    member.commit().await.unwrap();
    member.commit().await.unwrap();
    member.commit_at(1, &[place(0, 6)]).await.unwrap();
    let (group, subscription, commits) = server.await.unwrap();
    assert_eq!(group.as_deref(), Some("g"));
    let commit = |offsets| Req::CmdKafkaCommit(CmdKafkaCommit { subscription, offsets, assignment: 7 });
    assert_eq!(commits, [commit(vec![place(0, 7), place(1, 9)]), commit(vec![place(0, 6)])]);
}

#[tokio::test]
async fn failed_commit_says_whether_others_read_on() {
    let codes = [22, 25, 27, 30];
    let (client, _server) = session(async move |mut peer: Peer| {
        let (subscription, _) = joined(&mut peer).await;
        for code in codes {
            let (answer, _) = peer.request().await;
            peer.answer(answer, results(&[0, code])).await;
        }
        let (answer, _) = peer.request().await;
        let ended = ErrorResp { message: "no member".into(), ..Default::default() };
        for sequence in [subscription, answer] {
            peer.answer(sequence, Resp::ErrorResp(ended.clone())).await;
        }
        peer.request().await;
    })
    .await;
    let mut member = client.join("g", of_t());
    let early = member.commit_at(1, &[place(0, 1)]).await;
    assert!(matches!(early, Err(Error::Revoked { .. })), "{early:?}");
    updates(&mut member, 2).await;
    for code in codes {
        let error = member.commit_at(1, &[place(0, 1), place(1, 1)]).await.unwrap_err();
        let is_revoked = error == Error::Revoked { detail: "why".into() };
        assert_eq!(is_revoked, code != 30, "{error:?}");
    }
    // The subscription ends, and then the connection.
    let error = member.commit_at(1, &[place(0, 1)]).await.unwrap_err();
    assert_eq!(error, Error::Revoked { detail: "no member".into() });
    let error = member.commit_at(1, &[place(0, 1)]).await.unwrap_err();
    let text = "failed to keep the connection: ";
    assert!(matches!(&error, Error::Revoked { detail } if detail.starts_with(text)), "{error:?}");
}

#[tokio::test]
async fn commit_is_of_the_assignment_of_its_messages() {
    let (client, server) = session(async |mut peer: Peer| {
        let (sequence, _) = joined(&mut peer).await;
        peer.answer(sequence, delivery(0, &[5])).await;
        peer.answer(sequence, event(Event::Revoked(Revoked {}))).await;
        peer.answer(sequence, event(Event::Assigned(Assigned { assignment: 9, ..assigned() }))).await;
        peer.answer(sequence, delivery(0, &[5])).await;
        let (answer, Req::CmdKafkaCommit(commit)) = peer.request().await else { panic!("no commit") };
        peer.answer(answer, results(&[0])).await;
        commit.assignment
    })
    .await;
    let mut member = client.join("g", of_t());
    let mut deliveries = Vec::new();
    while deliveries.len() < 2 {
        if let Update::Delivery(delivery) = member.next().await.unwrap().unwrap() {
            deliveries.push(delivery.assignment);
        }
    }
    let error = member.commit_at(deliveries[0], &[place(0, 6)]).await.unwrap_err().to_string();
    let want =
        "commit: assignment 1 has ended, the member has number 2; messages that are not committed come again";
    assert_eq!(error, want);
    member.commit_at(deliveries[1], &[place(0, 6)]).await.unwrap();
    assert_eq!(server.await.unwrap(), 9);
}

#[tokio::test]
async fn member_joins_again_and_its_partitions_are_revoked_before() {
    let (listener, url) = listener().await;
    let server = tokio::spawn(async move {
        let mut peer = accept(&listener).await;
        let (sequence, _) = joined(&mut peer).await;
        peer.answer(sequence, event(Event::Revoked(Revoked {}))).await;
        peer.answer(sequence, event(Event::Assigned(assigned()))).await;
        peer.answer(sequence, delivery(0, &[5])).await;
        drop(peer);
        let mut peer = accept(&listener).await;
        let (sequence, group) = joined(&mut peer).await;
        peer.answer(sequence, event(Event::Revoked(Revoked {}))).await;
        (group, peer.request().await.1)
    });
    let client = Client::connect(url).await.unwrap();
    let mut member = client.join("g", of_t());
    let names = updates(&mut member, 7).await;
    let want = ["subscribed", "assigned", "revoked", "assigned", "delivery", "revoked", "reconnecting"];
    assert_eq!(names, want);
    let error = member.commit().await.unwrap_err().to_string();
    let want = "commit: the member has no partitions now; messages that are not committed come again";
    assert_eq!(error, want);
    assert_eq!(updates(&mut member, 3).await, ["subscribed", "assigned", "revoked"]);
    assert!(member.commit().await.is_err(), "the old offsets are not the new member's");
    drop(member);
    let (group, end) = server.await.unwrap();
    assert_eq!(group.as_deref(), Some("g"));
    assert!(matches!(end, Req::CmdUnsubscribe(_)), "{end:?}");
}

#[tokio::test]
async fn server_without_groups_delivers_nothing() {
    let (client, server) = session(async |mut peer: Peer| {
        let (sequence, _) = peer.request().await;
        peer.answer(
            sequence,
            Resp::KafkaSubscribedResp(KafkaSubscribedResp { topics: topics(), snapshot: false }),
        )
        .await;
        peer.answer(sequence, delivery(0, &[5])).await;
        peer.request().await.1
    })
    .await;
    let mut member = client.join("g", of_t());
    assert_eq!(member.next().await, Some(Err(Error::GroupsUnsupported)));
    assert_eq!(member.next().await, None);
    assert!(matches!(server.await.unwrap(), Req::CmdUnsubscribe(_)));
}

/// Answers a member's subscription, and assigns two partitions of `t` at 5. Returns its sequence and the group.
async fn joined(peer: &mut Peer) -> (i64, Option<String>) {
    let (sequence, Req::CmdKafkaSubscribe(command)) = peer.request().await else { panic!("no subscription") };
    let topic = SubscribedTopic { topic: "t".into(), ..Default::default() };
    let accepted = KafkaSubscribedResp { topics: vec![topic], snapshot: false };
    peer.answer(sequence, Resp::KafkaSubscribedResp(accepted)).await;
    peer.answer(sequence, event(Event::Assigned(assigned()))).await;
    (sequence, command.group)
}

fn event(event: Event) -> Resp {
    Resp::KafkaSubscriptionEvent(KafkaSubscriptionEvent { event: Some(event) })
}

fn assigned() -> Assigned {
    Assigned { topics: topics(), assignment: 7 }
}

fn topics() -> Vec<SubscribedTopic> {
    let partitions = [0, 1].map(|partition| PartitionNext { partition, offset: 5 }).to_vec();
    vec![SubscribedTopic { topic: "t".into(), topic_id: "id".into(), partitions }]
}

/// The results of a commit, with these codes of errors; 0: none.
fn results(codes: &[i32]) -> Resp {
    let error = |code| ErrorResp { code, message: "why".into(), ..Default::default() };
    let result =
        |&code: &i32| KafkaCommitResult { error: (code != 0).then(|| error(code)), ..Default::default() };
    Resp::KafkaCommitResp(KafkaCommitResp { results: codes.iter().map(result).collect() })
}

fn place(partition: i32, offset: i64) -> PartitionOffset {
    PartitionOffset { topic: "t".into(), partition, offset }
}

/// The next updates, by name.
async fn updates(member: &mut Member, count: usize) -> Vec<&'static str> {
    let mut names = Vec::new();
    while names.len() < count {
        names.push(match member.next().await.unwrap().unwrap() {
            Update::Subscribed(_) => "subscribed",
            Update::Assigned(topics) => {
                assert_eq!(topics[0].partitions, [(0, 5), (1, 5)]);
                "assigned"
            }
            Update::Revoked => "revoked",
            Update::Delivery(_) => "delivery",
            Update::CaughtUp { .. } => "caught up",
            Update::Reconnecting { .. } => "reconnecting",
            other => panic!("{other:?}"),
        });
    }
    names
}
