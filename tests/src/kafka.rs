//! A real Apache Kafka: one node that is broker and controller.
//!
//! [`Kafka::shared`] is what most tests use, with topics of their own; a test that kills or freezes its Kafka starts
//! one of its own by [`Kafka::start`].

mod produce;
mod topics;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::AdminClient;
use rdkafka::client::DefaultClientContext;
use tokio::sync::OnceCell;

use produce::Producers;
pub use produce::{Codec, Outcome, Record, Write};

use crate::Error;
use crate::folder::Folder;
use crate::port::Port;
use crate::process::Process;
use crate::tools;

/// A Kafka node, and what a test does to it.
pub struct Kafka {
    client: Port,
    _controller: Port,
    properties: PathBuf,
    /// The node itself, to be killed or frozen.
    pub process: Process,
    admin: AdminClient<DefaultClientContext>,
    topics: AtomicU32,
    producers: Producers,
    folder: Folder,
}

impl Kafka {
    /// The one node that all tests of this process share; it starts with the first of them and ends with the process.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    ///
    /// # Cancel safety
    /// The next caller starts it.
    pub async fn shared() -> Result<&'static Self, Error> {
        static SHARED: OnceCell<Kafka> = OnceCell::const_new();
        SHARED.get_or_try_init(Self::start).await
    }

    /// Formats and starts a node; it serves clients when this returns.
    ///
    /// # Errors
    /// Where Kafka is not installed or does not come up within a minute.
    ///
    /// # Cancel safety
    /// Nothing is left running.
    pub async fn start() -> Result<Self, Error> {
        let folder = Folder::new("kafka")?;
        let (client, controller) = (Port::pick()?, Port::pick()?);
        let text = server_properties(&client, &controller, &folder.path().join("data"));
        let properties = folder.write("kafka.properties", &text)?;
        format(&folder, &properties).await?;
        let admin = ClientConfig::new()
            .set("bootstrap.servers", client.address().to_string())
            // A node that comes back is noticed at once.
            .set("reconnect.backoff.max.ms", "250")
            .create()
            .map_err(Error::kafka("make an administration client"))?;
        let process = run(&folder, &properties, &admin).await?;
        let (topics, producers) = (AtomicU32::new(0), Producers::default());
        Ok(Self { client, _controller: controller, properties, process, admin, topics, producers, folder })
    }

    /// Its address for clients, as `bootstrap.servers` takes it.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        self.address().to_string()
    }

    /// Its address for clients.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.client.address()
    }

    /// Starts it again, on the same ports with the same data; nothing where it still runs.
    ///
    /// # Errors
    /// Where it does not come up within a minute.
    ///
    /// # Cancel safety
    /// It is down.
    pub async fn up(&mut self) -> Result<(), Error> {
        if self.process.ended().is_some() {
            self.process = run(&self.folder, &self.properties, &self.admin).await?;
        }
        Ok(())
    }
}

async fn format(folder: &Folder, properties: &Path) -> Result<(), Error> {
    let mut command = java("kafka.tools.StorageTool")?;
    command.args(["format", "-t", CLUSTER_ID, "-c"]).arg(properties);
    let part = "Kafka's formatter";
    let mut process = Process::spawn(part, command, &folder.path().join("format.log"))?;
    let status = process.wait(START_WITHIN).await?;
    if status.success() { Ok(()) } else { Err(Error::Ended { part, status, tail: process.log_tail() }) }
}

async fn run(
    folder: &Folder,
    properties: &Path,
    admin: &AdminClient<DefaultClientContext>,
) -> Result<Process, Error> {
    let mut command = java("kafka.Kafka")?;
    command.arg(properties);
    let mut process = Process::spawn("Kafka", command, &folder.path().join("kafka.log"))?;
    process.until("serve clients", START_WITHIN, async || serves_clients(admin)).await?;
    Ok(process)
}

/// The node registered with its controller, and may lead partitions.
fn serves_clients(admin: &AdminClient<DefaultClientContext>) -> Result<(), String> {
    match admin.inner().fetch_metadata(None, Duration::from_millis(500)) {
        Ok(metadata) if metadata.brokers().is_empty() => Err("it knows no broker yet".to_owned()),
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

fn java(class: &str) -> Result<Command, Error> {
    let mut command = Command::new("java");
    command
        .args(["-Xmx512m", "-XX:+UseSerialGC"])
        // A node of a few minutes does not earn back the second compiler's work: a third of its start.
        .args(["-XX:TieredStopAtLevel=1"])
        .args(["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp"])
        .arg(tools::kafka_lib()?.join("*"))
        .arg(class);
    Ok(command)
}

fn server_properties(client: &Port, controller: &Port, data: &Path) -> String {
    let (client, controller, data) = (client.address(), controller.address(), data.display());
    format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://{client},CONTROLLER://{controller}
advertised.listeners=PLAINTEXT://{client}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs={data}

# Kafka's default, said aloud: a test that no read creates a topic means nothing without it.
auto.create.topics.enable=true

# Tests choose their records' timestamps: half a minute after its start, Kafka would delete those of last year.
log.retention.ms=-1

# One node.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
group.initial.rebalance.delay.ms=0

# A node that was killed may register again as soon as its old session is over.
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500

# Values of 1 MiB, and room for their batches.
message.max.bytes=8388608
replica.fetch.max.bytes=8388608

# Compaction that a test can wait for.
log.cleaner.backoff.ms=200
log.cleaner.dedupe.buffer.size=8388608
"
    )
}

/// 16 bytes in URL-safe base64.
const CLUSTER_ID: &str = "c2x1aWNlZ2F0ZS10ZXN0cw";
const START_WITHIN: Duration = Duration::from_secs(60);
