//! `sluicegate subscribe`.

use sluicegate_protocol::kafka_source::From;

use super::*;

#[tokio::test]
async fn options_are_those_of_the_command() {
    let (url, command) = server::tell(vec![server::failed("")]).await;
    let options = "subscribe a b -p 1 -p 2 -o 7 --isolation read_committed --record-key k --record-key l \
                   --record-key-prefix m -r h=1 -r g=2 -r h=3 --linger 0.25 --on-lag skip -q \
                   --filter {\"value\":\"/a\",\"is\":[\"x\",{\"prefix\":\"y\"}],\"above\":5} --filter {\"value\":\"/b\",\"exists\":false}";
    run(&url, options).await;
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
    let part = RecordFilter {
        pointer: Some("/a".into()),
        equals: vec!["\"x\"".into()],
        prefixes: vec!["y".into()],
        above: Some("5".into()),
        ..Default::default()
    };
    let missing = RecordFilter { pointer: Some("/b".into()), missing: true, ..Default::default() };
    let want = CmdKafkaSubscribe {
        sources: vec![source("a"), source("b")],
        isolation: Isolation::ReadCommitted.into(),
        filters: vec![key, header("g", &["2"]), header("h", &["1", "3"]), part, missing],
        linger_ms: 250,
        on_lag: OnLag::Skip.into(),
        credit: Some(1 << 20),
        ..Default::default()
    };
    assert_eq!(command.await.unwrap(), Req::CmdKafkaSubscribe(want));
}

#[tokio::test]
async fn added_partitions_are_reported() {
    let added = (0..3).map(|partition| subscribed(PartitionNext { partition, offset: 0 }));
    let (url, _) = server::tell(added.chain([delivery(0)]).collect()).await;
    let stderr = "% New partitions: t [1]\n% New partitions: t [2]\n";
    run(&url, "subscribe t -c 1").await.is(0, "v0\n", stderr);
}

#[tokio::test]
async fn lag_is_reported_if_asked_for() {
    for (verbose, is_shown) in [("-v", true), ("-q", false)] {
        let (url, _) = server::tell(vec![delivery(0)]).await;
        let run = run(&url, &format!("subscribe t -o 0 -c 1 {verbose}")).await;
        assert_eq!((run.code, &*run.stdout), (Some(0), "v0\n"), "{run:?}");
        assert_eq!(run.stderr.contains("% 99 behind, 99 of them in t [0]\n"), is_shown, "{run:?}");
    }
}

#[tokio::test]
async fn positions_in_a_recreated_topic_are_not_offered() {
    let message = "topic \"t\" has been deleted and created again: subscribe without the positions and id";
    let reason = Reason::Recreated.into();
    let error = ErrorResp { message: message.into(), reason, ..Default::default() };
    let (url, _) = server::tell(vec![delivery(0), Resp::ErrorResp(error)]).await;
    let run = run(&url, "subscribe t -o earliest").await;
    let end = "sluicegate: topic \"t\" has been deleted and created again: begin again with \
               --from earliest or latest\n";
    run.tells(1, "v0\n", &[end]);
    assert!(!run.stderr.contains("continue with"), "{run:?}");
}

/// Where partitions of topic `t` begin.
fn subscribed(next: PartitionNext) -> Resp {
    let topics = vec![SubscribedTopic { topic: "t".into(), partitions: vec![next], ..Default::default() }];
    Resp::KafkaSubscribedResp(KafkaSubscribedResp { topics, snapshot: false })
}

/// A message of topic `t`, whose log ends at 100.
fn delivery(offset: i64) -> Resp {
    kafka::delivery("t", 0, vec![kafka::message(offset)], 100)
}
