//! A real Apache Kafka, whose nodes are each broker and controller.
//!
//! Most tests use [`Kafka::shared`] with their own topics. A test that kills or freezes its Kafka, or needs more than
//! one plain node, starts its own with [`Kafka::start`] or [`Kafka::start_with`]. [`secured`] has a listener for each
//! security protocol.

mod leaders;
mod node;
mod produce;
mod reference;
pub mod secured;
mod topics;

use std::sync::atomic::AtomicU32;

use rdkafka::ClientConfig;
use rdkafka::admin::AdminClient;
use rdkafka::client::DefaultClientContext;
use tokio::process::Command;
use tokio::sync::OnceCell;

pub use leaders::Partition;
pub use node::Node;
use node::{Ports, java};
use produce::Producers;
pub use produce::{Codec, Outcome, Record, Transaction, Write};

use crate::Error;
use crate::folder::Folder;

pub struct Kafka {
    /// In the order of their ids, from 1.
    pub nodes: Vec<Node>,
    listeners: &'static [Listener],
    admin: AdminClient<DefaultClientContext>,
    /// As `admin`, for requests while nodes are frozen.
    observer: AdminClient<DefaultClientContext>,
    topics: AtomicU32,
    producers: Producers,
    folder: Folder,
}

#[derive(Debug, Clone)]
pub struct Setup {
    pub nodes: usize,
    /// Further listeners of each node. The tests themselves use the plain one.
    pub listeners: &'static [Listener],
    /// Further lines of each node's `server.properties`, which override the defaults.
    pub properties: String,
    /// Options of each node's JVM.
    pub java: Vec<String>,
    /// Further arguments of Kafka's formatter, such as `--add-scram`.
    pub format: Vec<String>,
}

/// The name of a listener at localhost, as in `listener.name.NAME.…`, in capitals; and its protocol, as in
/// `listener.security.protocol.map`.
pub type Listener = (&'static str, &'static str);

/// The host that further listeners are bound to and advertise.
const HOST: &str = "localhost";

impl Default for Setup {
    fn default() -> Self {
        let (java, format) = (Vec::new(), Vec::new());
        Self { nodes: 1, listeners: &[], properties: String::new(), java, format }
    }
}

impl Kafka {
    /// The node that all tests of this process share. The first caller starts it; it ends with the process.
    pub async fn shared() -> Result<&'static Self, Error> {
        static SHARED: OnceCell<Kafka> = OnceCell::const_new();
        SHARED.get_or_try_init(Self::start).await
    }

    /// One plain node.
    pub async fn start() -> Result<Self, Error> {
        Self::start_with(Setup::default()).await
    }

    /// Formats and starts a cluster, and waits until all its nodes serve clients.
    pub async fn start_with(setup: Setup) -> Result<Self, Error> {
        let folder = Folder::new("kafka")?;
        let ports = (1..=setup.nodes).map(|id| Ports::pick(id, &setup)).collect::<Result<Vec<_>, _>>()?;
        let clients: Vec<String> = ports.iter().map(|ports| ports.client.address().to_string()).collect();
        let mut client = ClientConfig::new();
        client
            .set("bootstrap.servers", clients.join(","))
            // Reconnects quickly to a restarted node.
            .set("reconnect.backoff.max.ms", "250");
        let admin = client.create().map_err(Error::failed("make an administration client"))?;
        // librdkafka skips a silent node until it accepts a new connection.
        let observer = client
            .set("socket.timeout.ms", "1000")
            .create()
            .map_err(Error::failed("make an administration client"))?;
        let nodes = Node::start_all(ports, &setup, &folder, &admin).await?;
        let (topics, producers) = (AtomicU32::new(0), Producers::default());
        Ok(Self { nodes, listeners: setup.listeners, admin, observer, topics, producers, folder })
    }

    /// The nodes' addresses for clients, for `bootstrap.servers`.
    pub fn bootstrap(&self) -> String {
        let addresses = self.nodes.iter().map(|node| node.address().to_string());
        addresses.collect::<Vec<_>>().join(",")
    }

    /// The nodes' addresses at the listener `name`, for `bootstrap.servers`.
    pub fn bootstrap_of(&self, name: &str) -> Result<String, Error> {
        let at = self.listeners.iter().position(|(listener, _)| *listener == name);
        let at = at.ok_or_else(|| Error::SetUp(format!("find the listener {name}")))?;
        let ports = self.nodes.iter().filter_map(|node| node.ports.listeners.get(at));
        let addresses = ports.map(|port| format!("{HOST}:{}", port.number()));
        Ok(addresses.collect::<Vec<_>>().join(","))
    }

    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    pub fn kill(&mut self) {
        self.nodes.iter_mut().for_each(|node| node.process.kill());
    }

    /// Freezes every node (SIGSTOP); its sockets stay open.
    pub fn freeze(&mut self) {
        self.nodes.iter_mut().for_each(|node| node.process.freeze());
    }

    pub fn thaw(&mut self) {
        self.nodes.iter_mut().for_each(|node| node.process.thaw());
    }

    /// Restarts the nodes that have ended, on the same ports with the same data.
    pub async fn up(&mut self) -> Result<(), Error> {
        for node in &mut self.nodes {
            node.up(&self.admin).await?;
        }
        Ok(())
    }

    /// As [`up`](Self::up), for the node of this id alone.
    pub async fn up_only(&mut self, id: usize) -> Result<(), Error> {
        for node in self.nodes.iter_mut().filter(|node| node.ports.id == id) {
            node.up(&self.admin).await?;
        }
        Ok(())
    }

    /// The number of idempotent producers that the leader of a partition knows.
    pub async fn producers(&self, topic: &str, partition: i32) -> Result<usize, Error> {
        let partition = partition.to_string();
        let args = ["describe-producers", "--topic", topic, "--partition", &partition];
        let told = self.run("org.apache.kafka.tools.TransactionsCommand", &args).await?;
        // A line for each, below their heading.
        Ok(told.lines().count().saturating_sub(1))
    }

    /// Runs one of Kafka's tools, by its class, on this cluster. Gives its output.
    async fn run(&self, class: &'static str, args: &[&str]) -> Result<String, Error> {
        let mut command = Command::from(java(class, &[])?);
        command.args(["--bootstrap-server", &self.bootstrap()]).args(args).kill_on_drop(true);
        let output = command.output().await.map_err(Error::failed(format!("start {class}")))?;
        let tail = String::from_utf8_lossy(&output.stderr).into_owned();
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        let status = output.status;
        if status.success() { Ok(told) } else { Err(Error::Ended { part: class, status, tail }) }
    }
}
