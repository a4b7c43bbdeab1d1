//! Writing needs permission from both the route and the bridge.

use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::socket::Socket;
use sluicegate_stack::stack::{BridgeConfig, Setup, Stack};
use sluicegate_stack::way::Way;
use sluicegate_tests::in_every_profile;

use crate::writing::stacks::{allowed, record};

in_every_profile! {
    routes_and_bridges_only_read_by_default
}

async fn routes_and_bridges_only_read_by_default(way: Way) {
    let kafka = Kafka::shared().await.unwrap();
    let topic = &kafka.topic("unwritten", 1, &[]).await.unwrap();
    let setup = |settings: &str| {
        let bridge = BridgeConfig::Cluster { bootstrap: kafka.bootstrap(), settings: settings.to_owned() };
        Setup { bridge, ..Setup::new(way, kafka.bootstrap()) }
    };
    for (setup, says) in [
        (setup("[write]\nclusters = [\"default\"]\n"), "this route does not let clients write"),
        (allowed(setup("")), "the bridge does not write to this cluster"),
    ] {
        let stack = Stack::start(setup).await.unwrap();
        let mut socket = Socket::open(&stack).await;
        let error = socket.produce(vec![record(topic, "x")]).await.unwrap_err();
        assert!(error.message.contains(says) && !error.retriable, "{error:?}");
        socket.ping().await;
    }
    assert_eq!(kafka.watermarks(topic, 0).unwrap(), (0, 0));
}
