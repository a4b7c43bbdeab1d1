//! The messaging systems that the demo brings along, each with a generator of sluice gate readings.

use std::collections::BTreeSet;
use std::future::pending;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaResult;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{DefaultProducerContext, FutureProducer, FutureRecord};
use serde_json::json;
use sluicegate_stack::Error;
use sluicegate_stack::nats::{Nats, Streams};
use tokio::time::{MissedTickBehavior, interval};

use crate::source::{Source, System};
use crate::{Failure, sentence};

/// One of them, running; dropping it stops it.
pub(crate) struct Embedded {
    system: System,
    address: String,
    /// Of its topics or streams.
    names: Vec<String>,
    server: Server,
    writer: Writer,
}

enum Server {
    /// One broker.
    #[expect(dead_code, reason = "dropping it stops it")]
    Kafka(MockCluster<'static, DefaultProducerContext>),
    Nats(Nats),
}

enum Writer {
    Kafka(FutureProducer),
    Nats(Streams),
}

impl Embedded {
    /// Starts one with the topics, or streams, `more` beside the one of the readings.
    pub(crate) async fn start(system: System, more: &BTreeSet<String>) -> Result<Self, Failure> {
        let started = match system {
            System::Kafka => Self::kafka(more).map_err(Failure::from),
            System::Nats => Self::nats(more).await.map_err(Failure::from),
        };
        started.map_err(|e| format!("cannot start the embedded {}: {}", system.name(), sentence(&*e)).into())
    }

    /// A topic of readings has a partition for each gate.
    fn kafka(more: &BTreeSet<String>) -> KafkaResult<Self> {
        let cluster = MockCluster::new(1)?;
        for topic in names(more) {
            let partitions = if topic == NAME { PARTITIONS } else { 1 };
            cluster.create_topic(topic, partitions, 1)?;
        }
        let address = cluster.bootstrap_servers();
        let writer = Writer::Kafka(ClientConfig::new().set("bootstrap.servers", &address).create()?);
        let names = names(more).map(str::to_owned).collect();
        Ok(Self { system: System::Kafka, address, names, server: Server::Kafka(cluster), writer })
    }

    /// A stream's oldest messages make room for new ones.
    async fn nats(more: &BTreeSet<String>) -> Result<Self, Error> {
        let server = Nats::jetstream("").await?;
        let streams = Streams::connect(server.client()).await?;
        for stream in names(more) {
            streams.create(stream, json!({ "max_bytes": MAX_BYTES })).await?;
        }
        let (address, writer) = (server.client().to_string(), Writer::Nats(streams));
        let names = names(more).map(str::to_owned).collect();
        Ok(Self { system: System::Nats, address, names, server: Server::Nats(server), writer })
    }

    pub(crate) fn source(&self) -> Source {
        Source::Embedded(self.system, self.address.clone(), self.names.clone())
    }

    pub(crate) fn bridge_config(&self) -> String {
        let Self { system, address, .. } = self;
        let cluster = match system {
            // This Kafka answers a fetch that waits only when its time is over, even if a record has come.
            System::Kafka => format!("bootstrap.servers = {address:?}\nfetch.wait.max.ms = 10\n"),
            System::Nats => format!("kind = \"nats\"\nservers = \"nats://{address}\"\n"),
        };
        format!("[write]\nclusters = [\"default\"]\n\n[clusters.default]\n{cluster}")
    }

    /// Writes a few readings a second until something fails.
    pub(crate) async fn run(&mut self) -> Failure {
        let Self { server, writer, .. } = self;
        let ended = async {
            match server {
                Server::Kafka(_) => pending().await,
                Server::Nats(nats) => nats.process.watch().await,
            }
        };
        tokio::select! {
            stopped = writer.run() => {
                format!("the generator of readings stopped: {}", sentence(&*stopped)).into()
            }
            ended = ended => ended.into(),
        }
    }
}

impl Writer {
    /// Writes readings until a write fails.
    async fn run(&self) -> Failure {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut reading = 0_u32;
        loop {
            for (partition, gate) in (0..).zip(GATES) {
                ticks.tick().await;
                if let Err(error) = self.write(partition, gate, reading_of(gate, reading)).await {
                    return error;
                }
            }
            reading = reading.wrapping_add(1);
        }
    }

    async fn write(&self, partition: i32, gate: &str, value: String) -> Result<(), Failure> {
        match self {
            Self::Kafka(producer) => {
                // A number, so that keys are valid JSON too.
                let key = partition.to_string();
                let record = FutureRecord::to(NAME).partition(partition).key(&key).payload(&value);
                // The delivery report is ignored: readers see whether the record arrived.
                Ok(producer.send_result(record).map(drop).map_err(|(error, _)| error)?)
            }
            Self::Nats(streams) => Ok(streams.write(&format!("{NAME}.{gate}"), [value.into()]).await?),
        }
    }
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

/// The topics or streams: that of the readings, and the others.
fn names(more: &BTreeSet<String>) -> impl Iterator<Item = &str> {
    [NAME].into_iter().chain(more.iter().map(String::as_str).filter(|name| *name != NAME))
}

const GATES: [&str; 3] = ["north", "middle", "southern"];

/// The topic of Kafka, the stream of NATS.
pub(crate) const NAME: &str = "demo";
const PARTITIONS: i32 = 3;
/// Days of readings.
const MAX_BYTES: u64 = 64 << 20;
const EVERY: Duration = Duration::from_millis(350);
