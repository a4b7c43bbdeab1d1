//! The client, the examples and the live page in a real Chromium: real Envoy, real bridge, real Kafka.
//!
//! Each test starts a script of `lab/e2e/browser`, and does what the script asks for.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use sluicegate_soak::live::writers;
use sluicegate_stack::browser;
use sluicegate_stack::envoy::{LIVE_PAGE, page};
use sluicegate_stack::kafka::{Kafka, Record, Write};
use sluicegate_stack::port::Port;
use sluicegate_stack::stack::Stack;
use sluicegate_stack::tools::scale;
use sluicegate_stack::way::Way;
use tokio::sync::MutexGuard;

use crate::breakable;
use crate::pool::{Config, standard};

/// The topic of pages and examples.
const TOPIC: &str = "demo";
const PARTITIONS: i32 = 3;
const WITHIN: Duration = Duration::from_secs(240);

/// A Kafka, and a stack of its own that serves the pages and allows to write. Scripts have them killed and started.
struct Parts<K> {
    kafka: K,
    stack: Stack,
}

impl Parts<MutexGuard<'static, Kafka>> {
    /// With a Kafka that can be killed, and that has an empty topic [`TOPIC`].
    async fn breakable() -> Self {
        let kafka = breakable::kafka().await;
        // There is none yet for the first test.
        let _ = kafka.delete_topic(TOPIC).await;
        kafka.make_topic(TOPIC, PARTITIONS, &[]).await.unwrap();
        Self::on(kafka).await
    }
}

impl<K: Deref<Target = Kafka>> Parts<K> {
    async fn on(kafka: K) -> Self {
        let gateway = Port::pick().unwrap();
        let mut config = Config::on(Way::Tunnel, &kafka.bootstrap()).writing(&["default"]);
        for edit in page(LIVE_PAGE, gateway.number()).unwrap() {
            config = config.edit(edit);
        }
        let mut setup = config.routes([serde_json::json!({"path": "/kafka", "type": "rest"})]).setup();
        setup.gateway = Some(gateway);
        let mut stack = Stack::start(setup).await.unwrap();
        stack.ready_within(Duration::from_secs(30)).await.unwrap();
        Self { kafka, stack }
    }

    /// Runs a script with these arguments behind the gateway's address. Its requests that `asked` does not answer are those
    /// of all scripts.
    async fn run(
        &mut self,
        script: &str,
        args: &[&str],
        asked: impl AsyncFn(&mut Self, &str) -> Option<String>,
    ) {
        let gateway = self.stack.gateway().to_string();
        let args = [&[gateway.as_str()][..], args].concat();
        browser::run(script, &args, WITHIN, async |request| {
            if let Some(answer) = asked(self, request).await {
                return answer;
            }
            let Self { stack, .. } = self;
            match request {
                "kill bridge" => stack.bridge.process.kill(),
                "start bridge" => stack.bridge.up().await.unwrap(),
                "kill envoy" => stack.envoy_mut().process.kill(),
                "start envoy" => stack.envoy_mut().up().await.unwrap(),
                _ => panic!("unknown request {request:?}"),
            }
            "done".to_owned()
        })
        .await
        .unwrap();
    }

    /// Writes a record to partition 0, and returns its offset.
    async fn write(&self, topic: &str, value: &str) -> String {
        let written = self.kafka.produce(topic, 0, &[Record::of(value)], Write::default()).await;
        written.unwrap()[0].to_string()
    }
}

#[tokio::test]
async fn slow_loop_gets_every_record_within_its_credit() {
    let kafka = Kafka::shared().await.unwrap();
    let topic = kafka.topic("slow", 1, &[]).await.unwrap();
    let records = vec![Record::of(vec![b'x'; 100]); 10_000];
    let batches = scale(3, 10);
    for _ in 0..batches {
        kafka.produce(&topic, 0, &records, Write::default()).await.unwrap();
    }
    let (_, stack) = standard(Way::Tunnel).await;
    let count = (batches * records.len()).to_string();
    let args = [&*stack.gateway().to_string(), &topic, &count];
    let asked = async |request: &str| panic!("unknown request {request:?}");
    browser::run("slow.ts", &args, WITHIN, asked).await.unwrap();
}

#[tokio::test]
async fn clients_that_are_disconnected_together_come_back_at_random_times() {
    let kafka = Kafka::shared().await.unwrap();
    let topic = &kafka.topic("storm", 1, &[]).await.unwrap();
    let asked = async |parts: &mut Parts<_>, request: &str| match request.strip_prefix("write ") {
        Some(value) => Some(parts.write(topic, value).await),
        None => None,
    };
    Parts::on(kafka).await.run("storm.ts", &[topic], asked).await;
}

#[tokio::test]
async fn stored_tables_are_their_users_until_they_are_cleared() {
    let (kafka, stack) = standard(Way::Tunnel).await;
    let topic = &kafka.topic("stored", 1, &[]).await.unwrap();
    let args = [&*stack.gateway().to_string(), topic];
    let asked = async |request: &str| {
        assert_eq!(request, "recreate");
        kafka.delete_topic(topic).await.unwrap();
        kafka.make_topic(topic, 1, &[]).await.unwrap();
        "done".to_owned()
    };
    browser::run("tables.ts", &args, WITHIN, asked).await.unwrap();
}

/// Behind the outbox, the client says why it is not connected, and writes nothing for a wrong call.
#[tokio::test]
async fn outbox_writes_each_record_once_whatever_happens_to_page_and_bridge() {
    let kafka = Kafka::shared().await.unwrap();
    let mut parts = Parts::on(kafka).await;
    for script in ["outbox", "refused"] {
        let topic = &kafka.topic(script, 3, &[]).await.unwrap();
        parts.run(&format!("{script}.ts"), &[topic], async |_, _| None).await;
    }
}

/// And so do the examples, behind it.
#[tokio::test]
async fn page_shows_every_record_once_while_everything_fails_in_turn() {
    let mut parts = Parts::breakable().await;
    let screenshots = browser::screenshots().unwrap();
    let writers = writers::start(&parts.kafka, &Arc::from(TOPIC), PARTITIONS, |gate, reading| {
        format!(r#"{{"gate":{gate},"reading":{reading}}}"#)
    });
    let writers = std::cell::RefCell::new(Some(writers));
    let asked = async |parts: &mut Parts<MutexGuard<'static, Kafka>>, request: &str| match request {
        "kill kafka" => {
            parts.kafka.kill();
            Some("done".to_owned())
        }
        "start kafka" => {
            parts.kafka.up().await.unwrap();
            Some("done".to_owned())
        }
        "write 100" => {
            let records = vec![Record::of("{}"); 100];
            parts.kafka.produce(TOPIC, 0, &records, Write::default()).await.unwrap();
            Some("done".to_owned())
        }
        "stop writing" => {
            let writers = writers.take().unwrap();
            writers.stop().await;
            let ends = (0..PARTITIONS).map(|partition| parts.kafka.watermarks(TOPIC, partition).unwrap().1);
            Some(ends.sum::<i64>().to_string())
        }
        _ => None,
    };
    parts.run("page.ts", &[screenshots.to_str().unwrap()], asked).await;

    let asked = async |parts: &mut Parts<_>, request: &str| match request {
        "write" => Some(parts.write(TOPIC, r#"{"gate":"mine"}"#).await),
        _ => None,
    };
    parts.run("examples.ts", &[], asked).await;
}
