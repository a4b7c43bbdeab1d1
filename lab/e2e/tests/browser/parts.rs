//! The parts that scripts have killed and started.

use std::time::Duration;

use sluicegate_stack::envoy::{LIVE_PAGE, Profile, instead, page};
use sluicegate_stack::kafka::{Kafka, Record, Write};
use sluicegate_stack::port::Port;
use sluicegate_stack::stack::{BridgeConfig, Setup, Stack};

/// A Kafka of its own with the topic [`TOPIC`], and a stack that serves the pages and allows to write.
pub(crate) struct Parts {
    pub(crate) kafka: Kafka,
    pub(crate) stack: Stack,
}

impl Parts {
    pub(crate) async fn start() -> Self {
        let kafka = Kafka::start().await.unwrap();
        kafka.make_topic(TOPIC, PARTITIONS, &[]).await.unwrap();
        let gateway = Port::pick().unwrap();
        let mut envoy_edits = page(LIVE_PAGE, gateway.number()).unwrap().to_vec();
        envoy_edits.push(instead("", &ROUTES));
        let settings = "[write]\nclusters = [\"default\"]\n".to_owned();
        let bridge = BridgeConfig::Cluster { bootstrap: kafka.bootstrap(), settings };
        let gateway = Some(gateway);
        let setup = Setup { bridge, envoy_edits, gateway, ..Setup::new(Profile::Tunnel, "") };
        let mut stack = Stack::start(setup).await.unwrap();
        stack.ready_within(Duration::from_secs(30)).await.unwrap();
        Self { kafka, stack }
    }

    /// Kills a part, or starts it again.
    pub(crate) async fn act(&mut self, request: &str) -> String {
        let Self { kafka, stack } = self;
        match request {
            "kill bridge" => stack.bridge.process.kill(),
            "start bridge" => stack.bridge.up().await.unwrap(),
            "kill envoy" => stack.envoy_mut().process.kill(),
            "start envoy" => stack.envoy_mut().up().await.unwrap(),
            "kill kafka" => kafka.kill(),
            "start kafka" => kafka.up().await.unwrap(),
            _ => panic!("unknown request {request:?}"),
        }
        "done".to_owned()
    }

    /// Writes a record to partition 0, and returns its offset.
    pub(crate) async fn write(&self, value: &str) -> i64 {
        let records = [Record::of(value)];
        self.kafka.produce(TOPIC, 0, &records, Write::default()).await.unwrap()[0]
    }
}

const ROUTES: [&str; 2] = [
    r#"{"path": "/pubsub", "cluster": "default", "write": true, "tables": ["*"]}"#,
    r#"{"path": "/kafka", "type": "rest"}"#,
];
pub(crate) const TOPIC: &str = "demo";
pub(crate) const PARTITIONS: i32 = 3;
