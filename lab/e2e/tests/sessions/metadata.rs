//! A client's own `sluicegate-` headers have no effect.

use sluicegate_protocol::KafkaListOffsetResp;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_stack::raw::{self, Raw, Upgrade};
use sluicegate_stack::socket::list_offset;
use sluicegate_stack::way::Way;
use sluicegate_tests::in_every_profile;

use crate::pool::standard;

in_every_profile! {
    client_cannot_choose_the_cluster
}

/// The bridge's cluster `nats` has no topics.
async fn client_cannot_choose_the_cluster(way: Way) {
    let (kafka, stack) = standard(way).await;
    let topic = kafka.topic("chosen", 1, &[]).await.unwrap();
    let name = "sluicegate-cluster";
    for upgrade in [
        Upgrade::default().with(name, "nats"),
        Upgrade::default().with("SLUICEGATE-CLUSTER", "nats"),
        Upgrade::default().with(name, "nats").and("Sluicegate-Cluster", "nats"),
        Upgrade::default().with(name, "\u{ff}\u{fe}").with("sluicegate-x", b"\xFF"),
        Upgrade::to("/pubsub?sluicegate-cluster=nats"),
        Upgrade::default().with("connection", "Upgrade, sluicegate-cluster, content-type"),
    ] {
        let mut raw = Raw::connect(stack.gateway()).await.upgraded(&upgrade).await;
        raw.write(raw::request(1, list_offset(&topic, 0, -1))).await;
        let want = Some(Resp::KafkaListOffsetResp(KafkaListOffsetResp { offset: 0 }));
        assert_eq!(raw.answer().await.resp, want, "{upgrade:?}");
    }
}
