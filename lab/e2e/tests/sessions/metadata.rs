//! A client's own `sluicegate-` headers have no effect.

use sluicegate_protocol::KafkaListOffsetResp;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_stack::envoy::Profile;
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::raw::{self, Raw, Upgrade};
use sluicegate_stack::socket::list_offset;
use sluicegate_tests::in_every_profile;

use crate::sessions::stacks::{OTHER_CLUSTER, alone};

async fn client_cannot_choose_the_cluster(profile: Profile) {
    let stack = alone(profile).await;
    let topic = Kafka::shared().await.unwrap().topic("chosen", 1, &[]).await.unwrap();
    let name = "sluicegate-cluster";
    for upgrade in [
        Upgrade::default().with(name, OTHER_CLUSTER),
        Upgrade::default().with("SLUICEGATE-CLUSTER", OTHER_CLUSTER),
        Upgrade::default().with(name, OTHER_CLUSTER).and("Sluicegate-Cluster", OTHER_CLUSTER),
        Upgrade::default().with(name, "\u{ff}\u{fe}").with("sluicegate-x", b"\xFF"),
        Upgrade::to(format!("/pubsub?sluicegate-cluster={OTHER_CLUSTER}")),
        Upgrade::default().with("connection", "Upgrade, sluicegate-cluster, content-type"),
    ] {
        let mut raw = Raw::connect(stack.gateway()).await.upgraded(&upgrade).await;
        raw.write(raw::request(1, list_offset(&topic, 0, -1))).await;
        let answer = raw.answer().await.resp;
        let want = Some(Resp::KafkaListOffsetResp(KafkaListOffsetResp { offset: 0 }));
        assert_eq!(answer, want, "{upgrade:?}");
        let other = stack.bridge.count("sluicegate_sessions{", OTHER_CLUSTER).await;
        assert_eq!(other, Ok(0.0), "{upgrade:?}");
    }
}

in_every_profile! {
    client_cannot_choose_the_cluster
}
