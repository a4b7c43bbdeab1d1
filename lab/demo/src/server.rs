//! The server that the demo starts, Kafka or NATS, with a generator of sluice gate readings.

use std::collections::BTreeSet;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::json;
use sluicegate_stack::kafka::{Kafka, Setup};
use sluicegate_stack::nats::{Nats, Streams};
use sluicegate_stack::process::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::orders::{self, Orders};
use crate::source::{Source, System};
use crate::{Failure, sentence};

/// A running server; dropping it stops it and deletes its data.
pub(crate) struct Server {
    system: System,
    address: String,
    /// Of its topics or streams.
    names: Vec<String>,
    process: Process,
    writer: Writer,
    /// Written beside the readings, with `--schemas`.
    orders: Option<Orders>,
}

enum Process {
    Kafka(Kafka),
    Nats(Nats),
}

enum Writer {
    Kafka(FutureProducer),
    Nats(Streams),
}

impl Server {
    /// Starts one with the topics, or streams, `more` beside the one of the readings, and that of `orders`.
    pub(crate) async fn start(
        system: System,
        more: &BTreeSet<String>,
        orders: Option<Orders>,
    ) -> Result<Self, Failure> {
        let started = match system {
            System::Kafka => Self::kafka(more, orders).await,
            System::Nats => Self::nats(more).await,
        };
        started.map_err(|e| format!("cannot start {}: {}", system.name(), sentence(&*e)).into())
    }

    /// The topic of readings has a partition for each gate, whose oldest readings make room for new ones.
    async fn kafka(more: &BTreeSet<String>, orders: Option<Orders>) -> Result<Self, Failure> {
        let java = vec!["-Xmx256m".to_owned()];
        let kafka = Kafka::start_with(Setup { java, ..Setup::default() }).await?;
        let mut more = more.clone();
        more.extend(orders.iter().map(|_| orders::TOPIC.to_owned()));
        for topic in names(&more) {
            match topic {
                NAME => kafka.make_topic(topic, PARTITIONS, &READINGS).await?,
                orders::TOPIC if orders.is_some() => kafka.make_topic(topic, 1, &READINGS).await?,
                _ => kafka.make_topic(topic, 1, &[]).await?,
            }
        }
        let address = kafka.bootstrap();
        let writer = Writer::Kafka(ClientConfig::new().set("bootstrap.servers", &address).create()?);
        let names = names(&more).map(str::to_owned).collect();
        Ok(Self { system: System::Kafka, address, names, process: Process::Kafka(kafka), writer, orders })
    }

    /// A stream's oldest messages make room for new ones.
    async fn nats(more: &BTreeSet<String>) -> Result<Self, Failure> {
        let server = Nats::jetstream("").await?;
        let streams = Streams::connect(server.client()).await?;
        for stream in names(more) {
            streams.create(stream, json!({ "max_bytes": MAX_BYTES })).await?;
        }
        let (address, writer) = (server.client().to_string(), Writer::Nats(streams));
        let names = names(more).map(str::to_owned).collect();
        let process = Process::Nats(server);
        Ok(Self { system: System::Nats, address, names, process, writer, orders: None })
    }

    pub(crate) fn source(&self) -> Source {
        Source::Started(self.system, self.address.clone(), self.names.clone())
    }

    pub(crate) fn bridge_config(&self) -> String {
        let Self { system, address, orders, .. } = self;
        let mut cluster = match system {
            System::Kafka => format!("bootstrap.servers = {address:?}\n"),
            System::Nats => format!("kind = \"nats\"\nservers = \"nats://{address}\"\n"),
        };
        let mut schemas = String::new();
        if let Some(orders) = orders {
            cluster += &format!("schemas = {:?}\n", orders::NAME);
            schemas = format!("{}\n", orders.bridge_config());
        }
        format!("[write]\nclusters = [\"default\"]\n\n{schemas}[clusters.default]\n{cluster}")
    }

    /// Writes a few records a second until something fails.
    pub(crate) async fn run(&mut self) -> Failure {
        let Self { process, writer, orders, .. } = self;
        let process = match process {
            Process::Kafka(kafka) => kafka.nodes.first_mut().map(|node| &mut node.process),
            Process::Nats(nats) => Some(&mut nats.process),
        };
        tokio::select! {
            stopped = writer.run(orders.as_ref()) => {
                format!("the generator of records stopped: {}", sentence(&*stopped)).into()
            }
            ended = watch(process) => ended.into(),
        }
    }
}

impl Writer {
    /// Writes readings, and orders, until a write fails.
    async fn run(&self, orders: Option<&Orders>) -> Failure {
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
            if let (Self::Kafka(producer), Some(orders)) = (self, orders)
                && let Err(error) = orders.write(producer, reading)
            {
                return error;
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
/// A day of readings in each partition. Whole segments are deleted.
const READINGS: [(&str, &str); 2] = [("retention.bytes", "16777216"), ("segment.bytes", "4194304")];
/// Days of readings of all gates.
const MAX_BYTES: u64 = 64 << 20;
const EVERY: Duration = Duration::from_millis(350);
