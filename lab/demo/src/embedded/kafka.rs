//! The embedded Kafka: librdkafka's mock cluster.

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{DefaultProducerContext, FutureProducer, FutureRecord};

use super::NAME;
use super::readings::{GATES, reading_of, ticks};

/// The cluster; dropping it stops it.
pub(crate) struct Kafka {
    cluster: MockCluster<'static, DefaultProducerContext>,
    producer: FutureProducer,
}

impl Kafka {
    /// A cluster of one broker with a topic of readings, which has a partition for each gate, and these topics.
    pub(super) fn start(more: &[String]) -> KafkaResult<Self> {
        let cluster = MockCluster::new(1)?;
        cluster.create_topic(NAME, PARTITIONS, 1)?;
        for topic in more {
            cluster.create_topic(topic, 1, 1)?;
        }
        let producer = ClientConfig::new().set("bootstrap.servers", cluster.bootstrap_servers()).create()?;
        Ok(Self { cluster, producer })
    }

    pub(super) fn bootstrap(&self) -> String {
        self.cluster.bootstrap_servers()
    }

    /// This Kafka answers a fetch that waits only when its time is over, even if a record has come.
    pub(super) fn cluster_config(&self) -> String {
        format!("bootstrap.servers = {:?}\nfetch.wait.max.ms = 10\n", self.bootstrap())
    }

    /// Writes readings until a write fails.
    pub(super) async fn write_readings(&self) -> KafkaError {
        let mut ticks = ticks();
        let mut reading = 0_u32;
        loop {
            for (partition, gate) in (0..).zip(GATES) {
                ticks.tick().await;
                // A number, so that keys are valid JSON too.
                let (key, value) = (partition.to_string(), reading_of(gate, reading));
                let record = FutureRecord::to(NAME).partition(partition).key(&key).payload(&value);
                // The delivery report is ignored: readers see whether the record arrived.
                if let Err((error, _)) = self.producer.send_result(record) {
                    return error;
                }
            }
            reading = reading.wrapping_add(1);
        }
    }
}

const PARTITIONS: i32 = 3;
