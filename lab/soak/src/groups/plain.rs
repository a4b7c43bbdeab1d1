//! librdkafka's consumer in the same group.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Message};
use tokio::sync::watch;
use tokio::time::Instant;

use super::ledger::{Answer, Ledger};

pub(super) struct Plain {
    pub(super) group: usize,
    pub(super) number: usize,
    pub(super) name: String,
    /// `classic` or `consumer`.
    pub(super) protocol: &'static str,
}

impl Plain {
    pub(super) fn run(
        self,
        bootstrap: &str,
        topics: &[Arc<str>],
        ledger: &Ledger,
        stopped: &watch::Receiver<bool>,
    ) {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", bootstrap).set("group.id", &self.name);
        config.set("group.protocol", self.protocol).set("auto.offset.reset", "earliest");
        config.set("topic.metadata.refresh.interval.ms", "5000").set("reconnect.backoff.max.ms", "250");
        let consumer: BaseConsumer = config.create().unwrap();
        let topics: Vec<&str> = topics.iter().map(|topic| &**topic).collect();
        consumer.subscribe(&topics).unwrap();
        // Nobody stops it after a panic.
        while !*stopped.borrow() && stopped.has_changed().is_ok() {
            let began = Instant::now();
            // It reports outages, and goes on.
            let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else { continue };
            let records = [((Arc::from(message.topic()), message.partition()), message.offset())];
            let Self { group, number: member, .. } = self;
            ledger.received(Answer { group, member, began, is_auto: false, records: &records });
        }
    }
}
