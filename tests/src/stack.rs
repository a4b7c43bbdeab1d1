//! Bridge and Envoy in front of a Kafka.

mod lent;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use lent::Lent;

use crate::bridge::{self, Bridge};
use crate::envoy::{self, Envoy, Profile};
use crate::folder::Folder;
use crate::port::Port;
use crate::{Error, http};

/// A running gateway with its bridge; everything ends when it is dropped.
pub struct Stack {
    /// The gateway.
    pub envoy: Envoy,
    /// The bridge behind it.
    pub bridge: Bridge,
    folder: Folder,
}

/// What a stack is made of.
pub struct Setup {
    /// Envoy's configuration.
    pub profile: Profile,
    /// The bridge's.
    pub bridge: BridgeConfig,
    /// Variables that override keys of it.
    pub bridge_environment: Vec<(String, String)>,
    /// Where clients connect; a free port where `None`.
    pub gateway: Option<Port>,
    /// Envoy's worker threads.
    pub concurrency: u32,
    /// Another Envoy than the installed one.
    pub envoy: Option<PathBuf>,
    /// Exact texts of Envoy's configuration, and what stands there for this run.
    pub envoy_edits: Vec<(String, String)>,
}

/// Where the bridge's configuration comes from. Its addresses are overridden.
pub enum BridgeConfig {
    /// One cluster, `default`.
    Cluster {
        /// Its `bootstrap.servers`.
        bootstrap: String,
        /// TOML that stands before it: top-level keys, then tables.
        settings: String,
    },
    /// TOML of the user's own.
    Text(String),
}

impl Setup {
    /// A gateway with two workers in front of this Kafka, all else at its default.
    pub fn new(profile: Profile, bootstrap: impl Into<String>) -> Self {
        let bridge = BridgeConfig::Cluster { bootstrap: bootstrap.into(), settings: String::new() };
        Self {
            profile,
            bridge,
            bridge_environment: Vec::new(),
            gateway: None,
            concurrency: 2,
            envoy: None,
            envoy_edits: Vec::new(),
        }
    }
}

impl Stack {
    /// Starts the bridge, then Envoy. Kafka may be down.
    ///
    /// # Errors
    /// Where a part cannot be started.
    ///
    /// # Cancel safety
    /// Nothing is left running.
    pub async fn start(setup: Setup) -> Result<Self, Error> {
        let folder = Folder::new(setup.profile.name())?;
        let config = match setup.bridge {
            BridgeConfig::Text(text) => {
                let config = folder.write("bridge.toml", &text)?;
                bridge::check(&config, &setup.bridge_environment).await?;
                config
            }
            BridgeConfig::Cluster { bootstrap, settings } => {
                let text = format!("{settings}\n[clusters.default]\n\"bootstrap.servers\" = {bootstrap:?}\n");
                folder.write("bridge.toml", &text)?
            }
        };
        let bridge = Bridge::start(&config, setup.bridge_environment, folder.path()).await?;
        let envoy = envoy::Setup {
            profile: setup.profile,
            gateway: setup.gateway.map_or_else(Port::pick, Ok)?,
            bridge: bridge.grpc(),
            bridge_admin: bridge.admin(),
            program: setup.envoy,
            concurrency: setup.concurrency,
            edits: setup.envoy_edits,
        };
        let envoy = Envoy::start(envoy, folder.path()).await?;
        Ok(Self { envoy, bridge, folder })
    }

    /// Where a pub/sub client connects.
    #[must_use]
    pub fn url(&self) -> String {
        format!("ws://{}/pubsub", self.envoy.gateway())
    }

    /// Whether a fetch would work: the gateway's `/readyz`, or why not.
    ///
    /// # Errors
    /// A text for people.
    ///
    /// # Cancel safety
    /// Nothing is left over.
    pub async fn ready(&self) -> Result<(), String> {
        ready(self.envoy.gateway()).await
    }

    /// Waits until a fetch would work.
    ///
    /// # Errors
    /// Where it still would not after `within`, with the last reason, or a part ended meanwhile.
    ///
    /// # Cancel safety
    /// Nothing is left over.
    pub async fn ready_within(&mut self, within: Duration) -> Result<(), Error> {
        let gateway = self.envoy.gateway();
        let Self { envoy, bridge, .. } = self;
        let asked = async || ready(gateway).await;
        tokio::select! {
            ready = envoy.process.until("become ready for a fetch", within, asked) => ready,
            error = bridge.process.watch() => Err(error),
        }
    }

    /// Waits for a part to end that should not, and says which and how.
    ///
    /// # Cancel safety
    /// The parts run on.
    pub async fn watch(&mut self) -> Error {
        tokio::select! {
            error = self.envoy.process.watch() => error,
            error = self.bridge.process.watch() => error,
        }
    }

    /// Its folder of configurations and logs.
    #[must_use]
    pub fn folder(&self) -> &Folder {
        &self.folder
    }
}

async fn ready(gateway: SocketAddr) -> Result<(), String> {
    let answer = http::get(gateway, "/readyz").await?;
    match answer.status {
        200 => Ok(()),
        status => Err(format!("{status} {}", answer.body.trim())),
    }
}
