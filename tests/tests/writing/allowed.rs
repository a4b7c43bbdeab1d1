//! Who may write: neither a route nor a bridge does unless it is told to.

use sluicegate_tests::envoy::{Profile, writing};
use sluicegate_tests::in_both_profiles;
use sluicegate_tests::kafka::Kafka;
use sluicegate_tests::socket::Socket;
use sluicegate_tests::stack::{BridgeConfig, Setup, Stack};

use crate::stacks::record;

in_both_profiles! {
    a_route_and_a_bridge_that_say_nothing_of_it_only_read
}

async fn a_route_and_a_bridge_that_say_nothing_of_it_only_read(profile: Profile) {
    let kafka = Kafka::shared().await.unwrap();
    let topic = &kafka.topic("unwritten", 1, &[]).await.unwrap();
    let allowed = "[write]\nclusters = [\"default\"]\n";
    for (settings, envoy_edits, says) in [
        (allowed, Vec::new(), "this route does not write"),
        ("", vec![writing()], "the bridge does not write to this cluster"),
    ] {
        let bridge = BridgeConfig::Cluster { bootstrap: kafka.bootstrap(), settings: settings.to_owned() };
        let setup = Setup { bridge, envoy_edits, ..Setup::new(profile, kafka.bootstrap()) };
        let stack = Stack::start(setup).await.unwrap();
        let mut socket = Socket::open(&stack).await;
        let error = socket.produce(vec![record(topic, "x")]).await.unwrap_err();
        assert!(error.message.contains(says) && !error.retriable, "{error:?}");
        socket.ping().await;
    }
    assert_eq!(kafka.watermarks(topic, 0).unwrap(), (0, 0));
}
