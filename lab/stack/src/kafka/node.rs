//! One process of Kafka: broker and controller.

mod prepared;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use rdkafka::admin::AdminClient;
use rdkafka::client::DefaultClientContext;

use self::prepared::Prepared;
pub(super) use self::prepared::java;
use super::{HOST, Setup};
use crate::Error;
use crate::folder::Folder;
use crate::port::Port;
use crate::process::Process;

pub struct Node {
    pub(super) ports: Ports,
    pub process: Process,
}

/// A node's listener.
pub(super) struct Ports {
    /// Counts from 1.
    pub(super) id: usize,
    pub(super) client: Port,
    controller: Port,
    /// One for each of [`Setup::listeners`].
    pub(super) listeners: Vec<Port>,
}

impl Ports {
    pub(super) fn pick(id: usize, setup: &Setup) -> Result<Self, Error> {
        let listeners = setup.listeners.iter().map(|_| Port::pick()).collect::<Result<_, _>>()?;
        Ok(Self { id, client: Port::pick()?, controller: Port::pick()?, listeners })
    }

    pub(super) fn voter(&self) -> String {
        format!("{}@{}", self.id, self.controller.address())
    }

    pub(super) fn server_properties(&self, setup: &Setup, voters: &str, data: &Path) -> String {
        let Self { id, client, controller, listeners } = self;
        let (client, controller) = (client.address(), controller.address());
        let (mut addresses, mut protocols) = (String::new(), String::new());
        for ((name, protocol), port) in setup.listeners.iter().zip(listeners) {
            // Writing to a string cannot fail.
            let _ = write!(addresses, ",{name}://{HOST}:{}", port.number());
            let _ = write!(protocols, ",{name}:{protocol}");
        }
        format!(
            "process.roles=broker,controller
node.id={id}
controller.quorum.voters={voters}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://{client},CONTROLLER://{controller}{addresses}
advertised.listeners=PLAINTEXT://{client}{addresses}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT{protocols}
inter.broker.listener.name=PLAINTEXT
log.dirs={}
{COMMON}
{}",
            data.display(),
            setup.properties
        )
    }
}

impl Node {
    pub fn address(&self) -> SocketAddr {
        self.ports.client.address()
    }

    /// Formats and starts the nodes of a cluster, and waits until they serve clients.
    pub(super) async fn start_all(
        all: Vec<Ports>,
        setup: &Setup,
        folder: &Folder,
        admin: &AdminClient<DefaultClientContext>,
    ) -> Result<Vec<Self>, Error> {
        let voters = all.iter().map(Ports::voter).collect::<Vec<_>>().join(",");
        let prepared = Prepared::of(&setup.format).await?;
        let mut nodes = Vec::new();
        for ports in all {
            let id = ports.id;
            let data = folder.path().join(format!("data-{id}"));
            prepared.format(&data, id)?;
            let text = ports.server_properties(setup, &voters, &data);
            let properties = folder.write(&format!("node-{id}.properties"), &text)?;
            let mut command = java("kafka.Kafka", &setup.java)?;
            command.arg(&properties);
            let log = folder.path().join(format!("kafka-{id}.log"));
            nodes.push(Self { ports, process: Process::spawn("Kafka", command, &log)? });
        }
        for node in &mut nodes {
            node.serves(admin).await?;
        }
        Ok(nodes)
    }

    /// Restarts the node on the same ports with the same data, unless it is running.
    pub(super) async fn up(&mut self, admin: &AdminClient<DefaultClientContext>) -> Result<(), Error> {
        if self.process.restart()? { self.serves(admin).await } else { Ok(()) }
    }

    /// Waits until the node is registered with its controller and can lead partitions.
    async fn serves(&mut self, admin: &AdminClient<DefaultClientContext>) -> Result<(), Error> {
        let id = self.ports.id;
        let serves = async || match admin.inner().fetch_metadata(None, Duration::from_millis(500)) {
            Ok(metadata) if metadata.brokers().iter().any(|b| usize::try_from(b.id()) == Ok(id)) => Ok(()),
            Ok(_) => Err("the node is not registered yet".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        self.process.until("serve clients", START_WITHIN, serves).await
    }
}

/// The configuration of every node. If a key is given twice, the later value holds.
const COMMON: &str = "
# Kafka's default, said aloud: a test that no read creates a topic means nothing without it.
auto.create.topics.enable=true

# Tests choose their records' timestamps: half a minute after its start, Kafka would delete those of last year.
log.retention.ms=-1

# No more than one node needs.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
group.initial.rebalance.delay.ms=0

# No record of the metadata each half second, which costs half of what an idle node takes.
metadata.max.idle.interval.ms=0

# A node that was killed may register again as soon as its old session is over.
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500

# Values of 1 MiB, and room for their batches.
message.max.bytes=8388608
replica.fetch.max.bytes=8388608

# Compaction that a test can wait for.
log.cleaner.backoff.ms=200
log.cleaner.dedupe.buffer.size=8388608
";

const START_WITHIN: Duration = Duration::from_secs(180);
