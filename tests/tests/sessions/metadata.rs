//! What a client says in the headers that are between gateway and bridge has no effect.

use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{CmdKafkaListOffset, KafkaListOffsetResp};
use sluicegate_tests::in_both_profiles;
use sluicegate_tests::kafka::Kafka;
use sluicegate_tests::stack::Stack;
use sluicegate_tests::through_the_relay;
use sluicegate_tests::way::Way;

use crate::peer::request;
use crate::raw::{BINARY, Raw, Upgrade, masked};
use crate::stacks::{OTHER_CLUSTER, alone, configured};

async fn a_client_cannot_choose_the_cluster(way: Way) {
    let stack = alone(way).await;
    let topic = Kafka::shared().await.unwrap().topic("chosen", 1, &[]).await.unwrap();
    let mut twice = Upgrade::default().with("sluicegate-cluster", OTHER_CLUSTER);
    twice.headers.push(("Sluicegate-Cluster", OTHER_CLUSTER.as_bytes().to_vec()));
    for upgrade in [
        Upgrade::default().with("sluicegate-cluster", OTHER_CLUSTER),
        Upgrade::default().with("SLUICEGATE-CLUSTER", OTHER_CLUSTER),
        twice,
        Upgrade::default().with("sluicegate-cluster", "\u{ff}\u{fe}").with("sluicegate-x", b"\xFF"),
        Upgrade::to(format!("/pubsub?sluicegate-cluster={OTHER_CLUSTER}")),
        Upgrade::default().with("connection", "Upgrade, sluicegate-cluster, content-type"),
    ] {
        let what = String::from_utf8_lossy(&upgrade.bytes()).into_owned();
        let mut raw = open(&stack, &upgrade).await;
        let list = CmdKafkaListOffset { topic: topic.clone(), partition: 0, timestamp: -1 };
        raw.write(&masked(BINARY, &request(1, Req::CmdKafkaListOffset(list)))).await;
        let answer = raw.answer().await.resp;
        assert_eq!(answer, Some(Resp::KafkaListOffsetResp(KafkaListOffsetResp { offset: 0 })), "{what}");
        let sessions = stack.bridge.metrics("sluicegate_sessions{").await.unwrap();
        let other = format!("sluicegate_sessions{{cluster=\"{OTHER_CLUSTER}\"}}");
        assert!(sessions.contains(&(other, 0.0)), "{what}{sessions:?}");
    }
}

async fn a_client_can_neither_replace_nor_remove_the_gateways_secret(way: Way) {
    let stack = configured(way).await;
    for upgrade in [
        Upgrade::default(),
        Upgrade::default().with("sluicegate-gateway-secret", "a guess"),
        Upgrade::default().with("Sluicegate-Gateway-Secret", ""),
        Upgrade::default().with("connection", "Upgrade, sluicegate-gateway-secret"),
        Upgrade::default().with("connection", "sluicegate-gateway-secret, sluicegate-cluster, Upgrade"),
        Upgrade::default().with("te", "sluicegate-gateway-secret"),
    ] {
        open(&stack, &upgrade).await;
    }
}

async fn open(stack: &Stack, upgrade: &Upgrade) -> Raw {
    let mut raw = Raw::connect(stack.gateway()).await;
    let response = raw.ask(&upgrade.bytes()).await;
    assert_eq!(response.status, 101, "{}{response:?}", String::from_utf8_lossy(&upgrade.bytes()));
    raw
}

in_both_profiles! {
    a_client_cannot_choose_the_cluster
    a_client_can_neither_replace_nor_remove_the_gateways_secret
}

through_the_relay! {
    a_client_cannot_choose_the_cluster
    a_client_can_neither_replace_nor_remove_the_gateways_secret
}
