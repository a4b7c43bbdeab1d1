//! Reading through a gateway: real Envoy, real bridge, real Kafka. Every gateway serves the same records, and passes
//! the largest answers.
//!
//! [`sluicegate_stack::socket`] is the client. [`reference`] compares what it reads with what was written or what
//! librdkafka reads.

mod reference;

mod committed;
mod compaction;
mod differential;
mod large;
mod shared_log;

use std::fs;

use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::stack::{Lent, Stack};
use sluicegate_stack::tools;
use sluicegate_stack::way::Way;

use crate::pool::{Config, standard};

/// The Kafka of all tests, and the stack of all tests of a way in.
async fn shared(way: Way) -> (&'static Kafka, Lent<&'static Stack>) {
    let (kafka, stack) = standard(way).await;
    assert_version(kafka);
    (kafka, stack)
}

/// Its Kafka, and a stack with these settings.
async fn with(settings: &str) -> (&'static Kafka, Lent<&'static Stack>) {
    let (kafka, _) = shared(Way::Tunnel).await;
    (kafka, Config::new(Way::Tunnel).await.settings(settings).shared().await)
}

/// The running broker has the version that a recipe chose, by the jar that it has open.
fn assert_version(kafka: &Kafka) {
    let Some(want) = tools::kafka_version() else { return };
    let files = fs::read_dir(format!("/proc/{}/fd", kafka.nodes[0].process.id())).unwrap();
    let mut open =
        files.filter_map(|file| fs::read_link(file.ok()?.path()).ok()?.into_os_string().into_string().ok());
    let jar = open.find(|file| file.contains("/kafka_2.13-")).expect("a broker that has its jar open");
    assert!(jar.contains(&format!("/kafka_2.13-{want}.")), "{jar} instead of Kafka {want}");
}
