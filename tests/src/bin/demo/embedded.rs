//! The embedded Kafka, librdkafka's mock cluster, and a generator of sluice gate readings.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{DefaultProducerContext, FutureProducer, FutureRecord};
use tokio::time::{MissedTickBehavior, interval};

/// The cluster; dropping it stops it.
pub(crate) struct Embedded {
    cluster: MockCluster<'static, DefaultProducerContext>,
    producer: FutureProducer,
}

impl Embedded {
    /// A cluster of one broker with the topic [`TOPIC`], a partition for each gate.
    pub(crate) fn start() -> KafkaResult<Self> {
        let cluster = MockCluster::new(1)?;
        cluster.create_topic(TOPIC, PARTITIONS, 1)?;
        let producer = ClientConfig::new().set("bootstrap.servers", cluster.bootstrap_servers()).create()?;
        Ok(Self { cluster, producer })
    }

    pub(crate) fn bootstrap(&self) -> String {
        self.cluster.bootstrap_servers()
    }

    /// A bridge's configuration. This Kafka answers a fetch that waits only when its time is over, even if a record has come.
    pub(crate) fn bridge_config(&self) -> String {
        let servers = self.bootstrap();
        format!(
            "[write]\nclusters = [\"default\"]\n\n[clusters.default]\nbootstrap.servers = {servers:?}\nfetch.wait.max.ms = 10\n"
        )
    }

    /// Writes a few readings a second until a write fails.
    pub(crate) async fn write_readings(&self) -> KafkaError {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut reading = 0_u32;
        loop {
            for (partition, gate) in (0..).zip(GATES) {
                ticks.tick().await;
                // A number, so that keys are valid JSON too.
                let (key, value) = (partition.to_string(), reading_of(gate, reading));
                let record = FutureRecord::to(TOPIC).partition(partition).key(&key).payload(&value);
                // The delivery report is ignored: readers see whether the record arrived.
                if let Err((error, _)) = self.producer.send_result(record) {
                    return error;
                }
            }
            reading = reading.wrapping_add(1);
        }
    }
}

/// Water rises and falls by about a metre in two minutes.
fn reading_of(gate: &str, reading: u32) -> String {
    let phase = f64::from(reading) / 16.0 + f64::from(u8::try_from(gate.len()).unwrap_or(0));
    let level_cm = 210.0 + 50.0 * phase.sin();
    let open_percent = 50.0 + 50.0 * phase.cos();
    format!(
        r#"{{"gate":"{gate}","reading":{reading},"level_cm":{level_cm:.0},"open_percent":{open_percent:.0}}}"#
    )
}

/// The topic.
pub(crate) const TOPIC: &str = "demo";
/// Its partitions.
pub(crate) const PARTITIONS: i32 = 3;
const GATES: [&str; 3] = ["north", "middle", "southern"];
const EVERY: Duration = Duration::from_millis(350);
