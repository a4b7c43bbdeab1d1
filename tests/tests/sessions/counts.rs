//! The filter's metrics in Envoy's statistics.

use std::collections::BTreeMap;
use std::fs;

use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::{CmdEmpty, CmdKafkaFetch, CmdKafkaListOffset};
use sluicegate_tests::envoy::Profile;
use sluicegate_tests::kafka::Kafka;
use sluicegate_tests::raw::{BINARY, CLOSE, PING, Raw, TEXT, Upgrade, head, masked};
use sluicegate_tests::stack::Stack;
use sluicegate_tests::waiting::until;

use crate::PATIENCE;
use crate::peer::{ping, request};
use crate::stacks::alone;

#[tokio::test]
async fn sessions_commands_errors_and_bytes_are_counted() {
    let stack = alone(Profile::Tunnel).await;
    let topic = Kafka::shared().await.unwrap().topic("counted", 1, &[]).await.unwrap();
    nobody_is_there(&stack).await;
    let before = counts(&stack).await.unwrap();

    let mut raw = Raw::open(stack.gateway()).await;
    let list = CmdKafkaListOffset { topic: topic.clone(), partition: 0, timestamp: -1 };
    let fetch = CmdKafkaFetch { topic, partition: 0, offset: 0 };
    let frames = [
        masked(BINARY, &ping(1, b"x")),
        masked(BINARY, &ping(2, b"x")),
        masked(BINARY, &request(3, Req::CmdKafkaListOffset(list))),
        masked(BINARY, &request(4, Req::CmdKafkaFetch(fetch))),
        masked(BINARY, &request(5, Req::CmdEmpty(CmdEmpty {}))),
        masked(BINARY, b"\xCA\x3E\x00"),
        masked(BINARY, &[0xFF; 9]),
        masked(BINARY, b""),
        masked(TEXT, b"no command"),
        masked(PING, b"p"),
    ];
    let mut received = frames.concat().len();
    raw.write(&frames.concat()).await;
    for _ in 0..8 {
        raw.frame().await;
    }
    assert_eq!(counts(&stack).await.unwrap()["sessions_open"], 1);
    let close = masked(CLOSE, b"\x03\xE8");
    received += close.len();
    raw.write(&close).await;
    raw.frame().await;
    for fault in [
        masked(BINARY | 0x40, b""),
        masked(TEXT, b"\xFF"),
        [head(BINARY, 0x80, 1 << 30), vec![0; 4]].concat(),
    ] {
        received += fault.len();
        let mut raw = Raw::open(stack.gateway()).await;
        raw.write(&fault).await;
        raw.frame().await;
    }
    let refused = Upgrade::default().without("sec-websocket-key").bytes();
    assert_eq!(Raw::connect(stack.gateway()).await.ask(&refused).await.status, 400);
    nobody_is_there(&stack).await;

    let after = counts(&stack).await.unwrap();
    let mut grown: BTreeMap<&str, u64> =
        after.iter().map(|(name, count)| (name.as_str(), count - before[name])).collect();
    assert!(grown.remove("bytes_to_client").is_some_and(|sent| sent > 100), "{after:?}");
    let want = [
        ("bridge_refused", 0),
        ("bytes_from_client", received as u64),
        ("commands.kafka_fetch", 1),
        ("commands.kafka_list_offset", 1),
        ("commands.kafka_produce", 0),
        ("commands.ping", 2),
        ("errors.host_call", 0),
        ("errors.message_too_big", 1),
        ("errors.not_utf8", 1),
        ("errors.evicted", 0),
        ("errors.out_of_memory", 0),
        ("errors.protocol", 1),
        ("errors.unknown_command", 2),
        ("errors.wrong_command", 1),
        ("handshakes_refused", 1),
        ("http.answers_lost", 0),
        ("http.refused", 0),
        ("http.requests", 0),
        ("sessions", 4),
        ("sessions_open", 0),
    ];
    assert_eq!(grown, BTreeMap::from(want));
    let log = fs::read_to_string(stack.envoy().process.log()).unwrap();
    assert!(!log.contains("[error]") && !log.contains("[critical]"), "nothing went wrong here:\n{log}");
}

async fn nobody_is_there(stack: &Stack) {
    until("the end of all sessions", PATIENCE, async || match counts(stack).await?["sessions_open"] {
        0 => Ok(()),
        open => Err(format!("{open} are open")),
    })
    .await;
}

/// The filter's own counters and gauges.
async fn counts(stack: &Stack) -> Result<BTreeMap<String, u64>, String> {
    let stats = stack.envoy().stats("^wasmcustom.sluicegate.").await?;
    Ok(stats.into_iter().map(|(name, n)| (name.replace("wasmcustom.sluicegate.", ""), n)).collect())
}
