//! The messaging systems that the demo brings along, each with a generator of sluice gate readings.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{DefaultProducerContext, FutureProducer, FutureRecord};
use serde_json::json;
use sluicegate_stack::Error;
use sluicegate_stack::nats::{Nats as Server, Streams};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::source::{Source, System};
use crate::{Failure, sentence};

/// One of them, running; dropping it stops it.
#[expect(clippy::large_enum_variant, reason = "one in the program")]
pub(crate) enum Embedded {
    Kafka(Kafka),
    Nats(Nats),
}

impl Embedded {
    /// Starts one. A Kafka also has the topics `more`.
    pub(crate) async fn start(system: System, more: &[String]) -> Result<Self, Failure> {
        let started: Result<Self, Failure> = match system {
            System::Kafka => Kafka::start(more).map(Self::Kafka).map_err(Failure::from),
            System::Nats => Nats::start().await.map(Self::Nats).map_err(Failure::from),
        };
        started.map_err(|e| format!("cannot start the embedded {}: {}", system.name(), sentence(&*e)).into())
    }

    pub(crate) fn source(&self) -> Source {
        match self {
            Self::Kafka(kafka) => Source::Embedded(System::Kafka, kafka.bootstrap()),
            Self::Nats(nats) => Source::Embedded(System::Nats, nats.address()),
        }
    }

    pub(crate) fn bridge_config(&self) -> String {
        let cluster = match self {
            Self::Kafka(kafka) => kafka.cluster_config(),
            Self::Nats(nats) => nats.cluster_config(),
        };
        format!("[write]\nclusters = [\"default\"]\n\n[clusters.default]\n{cluster}")
    }

    /// Writes a few readings a second until something fails.
    pub(crate) async fn run(&mut self) -> Failure {
        let stopped = match self {
            Self::Kafka(kafka) => Failure::from(kafka.write_readings().await),
            Self::Nats(nats) => tokio::select! {
                error = readings_to(&nats.streams) => error.into(),
                ended = nats.server.process.watch() => return ended.into(),
            },
        };
        format!("the generator of readings stopped: {}", sentence(&*stopped)).into()
    }
}

/// The cluster; dropping it stops it.
pub(crate) struct Kafka {
    cluster: MockCluster<'static, DefaultProducerContext>,
    producer: FutureProducer,
}

impl Kafka {
    /// A cluster of one broker with a topic of readings, which has a partition for each gate, and these topics.
    fn start(more: &[String]) -> KafkaResult<Self> {
        let cluster = MockCluster::new(1)?;
        cluster.create_topic(NAME, PARTITIONS, 1)?;
        for topic in more {
            cluster.create_topic(topic, 1, 1)?;
        }
        let producer = ClientConfig::new().set("bootstrap.servers", cluster.bootstrap_servers()).create()?;
        Ok(Self { cluster, producer })
    }

    fn bootstrap(&self) -> String {
        self.cluster.bootstrap_servers()
    }

    /// This Kafka answers a fetch that waits only when its time is over, even if a record has come.
    fn cluster_config(&self) -> String {
        format!("bootstrap.servers = {:?}\nfetch.wait.max.ms = 10\n", self.bootstrap())
    }

    /// Writes readings until a write fails.
    async fn write_readings(&self) -> KafkaError {
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

/// The server; dropping it stops it.
pub(crate) struct Nats {
    server: Server,
    streams: Streams,
}

impl Nats {
    /// A server with a stream, whose oldest messages make room for new ones.
    async fn start() -> Result<Self, Error> {
        let server = Server::jetstream("").await?;
        let streams = Streams::connect(server.client()).await?;
        streams.create(NAME, json!({ "max_bytes": MAX_BYTES })).await?;
        Ok(Self { server, streams })
    }

    fn address(&self) -> String {
        self.server.client().to_string()
    }

    fn cluster_config(&self) -> String {
        format!("kind = \"nats\"\nservers = \"nats://{}\"\n", self.address())
    }
}

/// Publishes readings until the stream does not acknowledge one. Each gate has a subject.
async fn readings_to(streams: &Streams) -> Error {
    let mut ticks = ticks();
    let mut reading = 0_u32;
    loop {
        for gate in GATES {
            ticks.tick().await;
            let message = reading_of(gate, reading).into();
            if let Err(error) = streams.write(&format!("{NAME}.{gate}"), [message]).await {
                return error;
            }
        }
        reading = reading.wrapping_add(1);
    }
}

/// The time between two readings.
fn ticks() -> Interval {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}

/// A gate's reading: water rises and falls by about a metre in two minutes.
fn reading_of(gate: &str, reading: u32) -> String {
    let phase = f64::from(reading) / 16.0 + f64::from(u8::try_from(gate.len()).unwrap_or(0));
    let level_cm = 210.0 + 50.0 * phase.sin();
    let open_percent = 50.0 + 50.0 * phase.cos();
    format!(
        r#"{{"gate":"{gate}","reading":{reading},"level_cm":{level_cm:.0},"open_percent":{open_percent:.0}}}"#
    )
}

const GATES: [&str; 3] = ["north", "middle", "southern"];

/// The topic of Kafka, the stream of NATS.
pub(crate) const NAME: &str = "demo";
const PARTITIONS: i32 = 3;
/// Days of readings.
const MAX_BYTES: u64 = 64 << 20;
const EVERY: Duration = Duration::from_millis(350);
