//! `sluicegate subscribe --group`.

use rustix::process::Signal;
use sluicegate_protocol::kafka_subscription_event::{Assigned, CaughtUp, Event};
use sluicegate_protocol::{KafkaCommitResp, KafkaCommitResult};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::*;
use crate::interrupts::signal;

#[tokio::test]
async fn no_more_than_what_is_printed_is_committed() {
    let (committed, offset) = oneshot::channel();
    let url = server::serve(async |mut session: Session| {
        join(&mut session, 5).await;
        committed.send(commit(&mut session, 0).await).unwrap();
        session.request().await;
    })
    .await;
    run(&url, "subscribe t --group g -c 3").await.is(0, "v0\nv1\nv2\n", "% Assigned: t [0]\n");
    assert_eq!(offset.await.unwrap(), 3);
}

#[tokio::test]
async fn commits_come_in_time_and_at_a_signal() {
    for (number, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let (committed, offsets) = oneshot::channel();
        let url = server::serve(async |mut session: Session| {
            let subscription = join(&mut session, 2).await;
            let first = commit(&mut session, 0).await;
            session.answer(subscription, kafka::delivery("t", 0, vec![kafka::message(2)], 3)).await;
            // Proves that the message is printed.
            let caught_up = CaughtUp { topic: "t".into(), next_offset: 3, ..Default::default() };
            session.answer(subscription, kafka::event(Event::CaughtUp(caught_up))).await;
            let last = commit(&mut session, 0).await;
            committed.send([first, last]).unwrap();
            session.request().await;
        })
        .await;
        let mut child = command(&url, &["subscribe", "t", "--group", "g"]).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        for line in ["% Assigned: t [0]", "% Reached end of t [0] at offset 3"] {
            assert_eq!(lines.next_line().await.unwrap().as_deref(), Some(line));
        }
        signal(child, number, code).await;
        assert_eq!(offsets.await.unwrap(), [2, 3]);
        // The group has the positions.
        let summary = lines.next_line().await.unwrap().unwrap();
        assert!(summary.starts_with("% 3 messages, 12 bytes in ") && summary.ends_with(" s"), "{summary}");
    }
}

#[tokio::test]
async fn failed_commits_are_told() {
    // Others read on, and a client that has not the right.
    for (options, code, exit, text) in [
        (" -c 1", 27, 0, "% failed to commit: why; messages that are not committed come again\n"),
        ("", 30, 1, "sluicegate: why\n"),
    ] {
        let url = server::serve(async move |mut session: Session| {
            join(&mut session, 1).await;
            while commit(&mut session, code).await > 0 {}
        })
        .await;
        run(&url, &format!("subscribe t --group g{options}")).await.tells(exit, "v0\n", &[text]);
    }
}

/// Makes the program a member of group `g` that has partition 0 of `t`, and delivers messages. Returns the sequence.
async fn join(session: &mut Session, messages: i64) -> i64 {
    let (sequence, Req::CmdKafkaSubscribe(command)) = session.request().await.unwrap() else { panic!() };
    assert_eq!(command.group.as_deref(), Some("g"));
    let topic = |partitions| vec![SubscribedTopic { topic: "t".into(), partitions, ..Default::default() }];
    let accepted = KafkaSubscribedResp { topics: topic(vec![]), snapshot: false };
    let partitions = vec![PartitionNext { partition: 0, offset: 0 }];
    let assigned = Event::Assigned(Assigned { topics: topic(partitions), assignment: 7 });
    let messages = (0..messages).map(kafka::message).collect();
    let answers =
        [Resp::KafkaSubscribedResp(accepted), kafka::event(assigned), kafka::delivery("t", 0, messages, 5)];
    for answer in answers {
        session.answer(sequence, answer).await;
    }
    sequence
}

/// Answers the next commit with this code, 0 for none, and returns its offset; 0 when the program has left.
async fn commit(session: &mut Session, code: i32) -> i64 {
    while let Some((sequence, request)) = session.request().await {
        let Req::CmdKafkaCommit(commit) = request else { continue };
        assert_eq!(commit.assignment, 7);
        let error = (code != 0).then(|| ErrorResp { code, message: "why".into(), ..Default::default() });
        let results = vec![KafkaCommitResult { error, ..Default::default() }];
        session.answer(sequence, Resp::KafkaCommitResp(KafkaCommitResp { results })).await;
        return commit.offsets[0].offset;
    }
    0
}
