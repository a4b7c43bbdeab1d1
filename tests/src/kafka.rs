//! A real Apache Kafka: nodes that are broker and controller each.
//!
//! [`Kafka::shared`] is what most tests use, with topics of their own; a test that kills or freezes its Kafka, or wants
//! more of it than one plain node, starts one of its own by [`Kafka::start`] or [`Kafka::start_with`]. [`secured`] has
//! a listener for every way to be secured.

mod command;
mod leaders;
mod node;
mod produce;
mod quotas;
mod reference;
pub mod secured;
mod setup;
mod topics;
mod write;

use std::sync::atomic::AtomicU32;

use rdkafka::ClientConfig;
use rdkafka::admin::AdminClient;
use rdkafka::client::DefaultClientContext;
use tokio::sync::OnceCell;

pub use command::CONSOLE_CONSUMER;
pub use leaders::Partition;
pub use node::Node;
use node::Ports;
pub use produce::Record;
pub use setup::{Listener, Setup};
use write::Producers;
pub use write::{Codec, Outcome, Write};

use crate::Error;
use crate::folder::Folder;

/// A Kafka cluster, and what a test does to it.
pub struct Kafka {
    /// In the order of their ids, the first of which is 1.
    pub nodes: Vec<Node>,
    listeners: Vec<Listener>,
    admin: AdminClient<DefaultClientContext>,
    /// As `admin`, for questions while nodes are frozen.
    observer: AdminClient<DefaultClientContext>,
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

    /// One plain node.
    ///
    /// # Errors
    /// As [`start_with`](Self::start_with).
    ///
    /// # Cancel safety
    /// Nothing is left running.
    pub async fn start() -> Result<Self, Error> {
        Self::start_with(Setup::default()).await
    }

    /// Formats and starts a cluster; all of its nodes serve clients when this returns.
    ///
    /// # Errors
    /// Where Kafka is not installed or does not come up within a minute.
    ///
    /// # Cancel safety
    /// Nothing is left running.
    pub async fn start_with(setup: Setup) -> Result<Self, Error> {
        let folder = Folder::new("kafka")?;
        let ports = (1..=setup.nodes).map(|id| Ports::pick(id, &setup)).collect::<Result<Vec<_>, _>>()?;
        let clients: Vec<String> = ports.iter().map(|ports| ports.client.address().to_string()).collect();
        let mut client = ClientConfig::new();
        client
            .set("bootstrap.servers", clients.join(","))
            // A node that comes back is noticed at once.
            .set("reconnect.backoff.max.ms", "250");
        let admin = client.create().map_err(Error::kafka("make an administration client"))?;
        // A node that does not answer is not asked again before it has answered a connection.
        let observer = client
            .set("socket.timeout.ms", "1000")
            .create()
            .map_err(Error::kafka("make an administration client"))?;
        let nodes = Node::start_all(ports, &setup, &folder, &admin).await?;
        let (topics, producers) = (AtomicU32::new(0), Producers::default());
        Ok(Self { nodes, listeners: setup.listeners, admin, observer, topics, producers, folder })
    }

    /// The nodes' addresses for clients, as `bootstrap.servers` takes them.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        let addresses = self.nodes.iter().map(|node| node.address().to_string());
        addresses.collect::<Vec<_>>().join(",")
    }

    /// The nodes' addresses at the listener of this name, as `bootstrap.servers` takes them.
    ///
    /// # Errors
    /// [`Error::NoListener`] where there is none of this name.
    pub fn bootstrap_of(&self, name: &str) -> Result<String, Error> {
        let at = self.listeners.iter().position(|listener| listener.name == name);
        let listener = at.and_then(|at| Some((at, self.listeners.get(at)?)));
        let (at, listener) = listener.ok_or_else(|| Error::NoListener(name.to_owned()))?;
        let ports = self.nodes.iter().filter_map(|node| node.ports.listeners.get(at));
        let addresses = ports.map(|port| format!("{}:{}", listener.host, port.number()));
        Ok(addresses.collect::<Vec<_>>().join(","))
    }

    /// The folder of its configurations and logs.
    #[must_use]
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Kills every node.
    pub fn kill(&mut self) {
        self.nodes.iter_mut().for_each(|node| node.process.kill());
    }

    /// Stops every node where it stands, its sockets open.
    pub fn freeze(&mut self) {
        self.nodes.iter_mut().for_each(|node| node.process.freeze());
    }

    /// Lets every node go on.
    pub fn thaw(&mut self) {
        self.nodes.iter_mut().for_each(|node| node.process.thaw());
    }

    /// Starts the nodes again that have ended, on the same ports with the same data.
    ///
    /// # Errors
    /// A node does not come up within a minute.
    ///
    /// # Cancel safety
    /// Some may be down.
    pub async fn up(&mut self) -> Result<(), Error> {
        for node in &mut self.nodes {
            node.up(&self.admin).await?;
        }
        Ok(())
    }
}
