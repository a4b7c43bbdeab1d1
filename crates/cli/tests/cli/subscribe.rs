//! `sluicegate subscribe`.

use sluicegate_protocol::kafka_source::From;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{
    CmdKafkaSubscribe, ErrorResp, Isolation, KafkaDeliveryResp, KafkaMessage, KafkaSource,
    KafkaSubscribedResp, OnLag, PartitionNext, Reason, RecordFilter, SubscribedTopic,
};

use crate::kafka;
use crate::program::{check, run};
use crate::server::{self, Session};

#[tokio::test]
async fn messages_of_all_topics_are_printed() {
    let url = kafka::serve().await;
    let args = ["subscribe", "orders", "open", "-o", "-2", "-c", "5", "-f", r"%t %p %o\n"];
    let got = run(&url, &args).await;
    let stdout = "orders 0 3\norders 0 4\norders 1 100\norders 1 101\nopen 0 3\n";
    let stderr = "% Reached end of orders [0] at offset 5\n% Reached end of orders [1] at offset 102\n\
                  % Reached end of orders [2] at offset 0\n";
    assert_eq!((got.code, &*got.stdout, &*got.stderr), (Some(0), stdout, stderr));
    check("subscribe orders -q -o s@3000 -p 0 -c 2", 0, "v3\nv4\n", "").await;
    check("subscribe orders markers -q -o beginning -p 0 -c 6", 0, "v0\nv1\nv2\nv3\nv4\nv0\n", "").await;
}

#[tokio::test]
async fn subscription_begins_at_the_end_and_waits() {
    let stderr = "% Reached end of growing [0] at offset 2\n";
    check("subscribe growing -c 3", 0, "v2\nv3\nv4\n", stderr).await;
}

#[tokio::test]
async fn options_are_those_of_the_command() {
    let (asked, command) = tokio::sync::oneshot::channel();
    let url = server::serve(async |mut session: Session| {
        let (sequence, command) = session.request().await.unwrap();
        asked.send(command).unwrap();
        session.answer(sequence, Resp::ErrorResp(ErrorResp::default())).await;
    })
    .await;
    let options = "subscribe a b -p 1 -p 2 -o 7 --isolation read_committed --record-key k --record-key l \
                   --record-key-prefix m -r h=1 -r g=2 -r h=3 --linger 0.25 --on-lag skip -q";
    run(&url, &options.split_whitespace().collect::<Vec<_>>()).await;
    let source = |topic: &str| KafkaSource {
        topic: topic.into(),
        partitions: vec![1, 2],
        from: Some(From::Offset(7)),
        ..Default::default()
    };
    let header = |name: &str, equals: &[&'static str]| RecordFilter {
        header: Some(name.into()),
        equals: equals.iter().map(|value| (*value).into()).collect(),
        ..Default::default()
    };
    let key = RecordFilter {
        equals: vec!["k".into(), "l".into()],
        prefixes: vec!["m".into()],
        ..Default::default()
    };
    let want = CmdKafkaSubscribe {
        sources: vec![source("a"), source("b")],
        isolation: Isolation::ReadCommitted.into(),
        filters: vec![key, header("g", &["2"]), header("h", &["1", "3"])],
        linger_ms: 250,
        on_lag: OnLag::Skip.into(),
        credit: Some(1 << 20),
        ..Default::default()
    };
    assert_eq!(command.await.unwrap(), Req::CmdKafkaSubscribe(want));
}

#[tokio::test]
async fn subscription_continues_after_a_lost_connection() {
    let (listener, url) = server::listener().await;
    let server = tokio::spawn(async move {
        for offset in 0..3 {
            let mut session = server::accept(&listener).await;
            let (sequence, Req::CmdKafkaSubscribe(command)) = session.request().await.unwrap() else {
                panic!()
            };
            let begin = command.sources[0].next.first().map_or(0, |next| next.offset);
            assert_eq!(begin, offset);
            session.answer(sequence, subscribed(PartitionNext { partition: 0, offset: begin })).await;
            deliver(&mut session, sequence, begin).await;
        }
    });
    let run = run(&url, &["subscribe", "t", "-o", "earliest", "-c", "3"]).await;
    server.await.unwrap();
    assert_eq!((run.code, &*run.stdout), (Some(0), "v0\nv1\nv2\n"), "{run:?}");
    let lines: Vec<&str> = run.stderr.lines().collect();
    let lost = "% failed to keep the connection: it ended without a Close; retrying in 0.";
    assert!(lines.len() == 2 && lines.iter().all(|line| line.starts_with(lost)), "{lines:?}");
}

#[tokio::test]
async fn added_partitions_are_reported() {
    let url = server::serve(async |mut session: Session| {
        let (sequence, _) = session.request().await.unwrap();
        for partition in 0..3 {
            session.answer(sequence, subscribed(PartitionNext { partition, offset: 0 })).await;
        }
        deliver(&mut session, sequence, 0).await;
    })
    .await;
    let run = run(&url, &["subscribe", "t", "-c", "1"]).await;
    assert_eq!((run.code, &*run.stdout), (Some(0), "v0\n"), "{run:?}");
    assert_eq!(run.stderr, "% New partitions: t [1]\n% New partitions: t [2]\n");
}

#[tokio::test]
async fn lag_is_reported_if_asked_for() {
    for (verbose, is_shown) in [("-v", true), ("-q", false)] {
        let url = server::serve(async |mut session: Session| {
            let (sequence, _) = session.request().await.unwrap();
            deliver(&mut session, sequence, 0).await;
        })
        .await;
        let run = run(&url, &["subscribe", "t", "-o", "0", "-c", "1", verbose]).await;
        assert_eq!((run.code, &*run.stdout), (Some(0), "v0\n"), "{run:?}");
        assert_eq!(run.stderr.contains("% 99 behind, 99 of them in t [0]\n"), is_shown, "{run:?}");
    }
}

#[tokio::test]
async fn refused_subscription_has_the_servers_text() {
    let stderr =
        "sluicegate: failed to subscribe, topic: orders, partition: 9, err: UNKNOWN_TOPIC_OR_PARTITION\n";
    check("subscribe orders -p 9 -q", 1, "", stderr).await;
    let url = kafka::serve_older().await;
    let run = run(&url, &["subscribe", "orders"]).await;
    let stderr = "sluicegate: failed to run the command subscribe: the server does not support it\n";
    assert_eq!((run.code, &*run.stdout, &*run.stderr), (Some(1), "", stderr));
}

#[tokio::test]
async fn positions_in_a_recreated_topic_are_not_offered() {
    let url = server::serve(async |mut session: Session| {
        let (sequence, _) = session.request().await.unwrap();
        deliver(&mut session, sequence, 0).await;
        let message =
            "topic \"t\" has been deleted and created again: subscribe without the positions and id";
        let reason = Reason::Recreated.into();
        let error = ErrorResp { message: message.into(), reason, ..Default::default() };
        session.answer(sequence, Resp::ErrorResp(error)).await;
        session.request().await;
    })
    .await;
    let run = run(&url, &["subscribe", "t", "-o", "earliest"]).await;
    assert_eq!((run.code, &*run.stdout), (Some(1), "v0\n"), "{run:?}");
    let end = "sluicegate: topic \"t\" has been deleted and created again: begin again with \
               --from earliest or latest\n";
    assert!(run.stderr.ends_with(end) && !run.stderr.contains("continue with"), "{run:?}");
}

/// Where partitions of topic `t` begin.
fn subscribed(next: PartitionNext) -> Resp {
    let topics = vec![SubscribedTopic { topic: "t".into(), partitions: vec![next], ..Default::default() }];
    Resp::KafkaSubscribedResp(KafkaSubscribedResp { topics, snapshot: false })
}

/// A message of topic `t`, whose log ends at 100.
async fn deliver(session: &mut Session, sequence: i64, offset: i64) {
    let messages =
        vec![KafkaMessage { offset, value: Some(format!("v{offset}").into()), ..Default::default() }];
    let (topic, next_offset) = ("t".to_owned(), offset + 1);
    let delivery = KafkaDeliveryResp { messages, topic, partition: 0, next_offset, high_watermark: 100 };
    session.answer(sequence, Resp::KafkaDeliveryResp(delivery)).await;
}
