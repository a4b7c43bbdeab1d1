//! Bridge and gateway in front of a Kafka.

mod gateway;
mod lent;
mod setup;

use std::net::SocketAddr;
use std::time::Duration;

use gateway::{Gateway, Readiness};
pub use lent::Lent;
pub use setup::{BridgeConfig, Setup};

use crate::Error;
use crate::bridge::{self, Bridge};
use crate::envoy::Envoy;
use crate::folder::Folder;
use crate::process::Process;
use crate::way::Way;

/// A running gateway with its bridge; everything ends when it is dropped.
pub struct Stack {
    gateway: Gateway,
    /// The bridge behind the gateway.
    pub bridge: Bridge,
    way: Way,
    folder: Folder,
}

impl Stack {
    /// Starts the bridge, then the gateway. Kafka may be down.
    ///
    /// # Errors
    /// A part cannot be started.
    ///
    /// # Cancel safety
    /// Nothing is left running.
    pub async fn start(setup: Setup) -> Result<Self, Error> {
        let folder = Folder::new(setup.way.name())?;
        let config = match &setup.bridge {
            BridgeConfig::Text(text) => {
                let config = folder.write("bridge.toml", text)?;
                bridge::check(&config, &setup.bridge_environment).await?;
                config
            }
            BridgeConfig::Cluster { bootstrap, settings } => {
                let text = format!("{settings}\n[clusters.default]\n\"bootstrap.servers\" = {bootstrap:?}\n");
                folder.write("bridge.toml", &text)?
            }
        };
        let bridge = Bridge::start(&config, setup.bridge_environment.clone(), folder.path()).await?;
        let way = setup.way;
        let gateway = Gateway::start(setup, &bridge, folder.path()).await?;
        Ok(Self { gateway, bridge, way, folder })
    }

    /// Which way in it is.
    #[must_use]
    pub fn way(&self) -> Way {
        self.way
    }

    /// The address for clients.
    #[must_use]
    pub fn gateway(&self) -> SocketAddr {
        self.gateway.address(&self.bridge)
    }

    /// The URL for pub/sub clients.
    #[must_use]
    pub fn url(&self) -> String {
        format!("ws://{}/pubsub", self.gateway())
    }

    /// Its Envoy.
    ///
    /// # Panics
    /// The stack has no Envoy: tests of Envoy's own features are not for other ways in.
    #[must_use]
    #[expect(clippy::panic, reason = "for tests alone")]
    pub fn envoy(&self) -> &Envoy {
        match &self.gateway {
            Gateway::Envoy(envoy) => envoy,
            Gateway::Relay(_) | Gateway::Apisix(_) | Gateway::None => panic!("this stack has no Envoy"),
        }
    }

    /// Mutable access to Envoy.
    ///
    /// # Panics
    /// The stack has no Envoy.
    #[expect(clippy::panic, reason = "for tests alone")]
    pub fn envoy_mut(&mut self) -> &mut Envoy {
        match &mut self.gateway {
            Gateway::Envoy(envoy) => envoy,
            Gateway::Relay(_) | Gateway::Apisix(_) | Gateway::None => panic!("this stack has no Envoy"),
        }
    }

    /// The gateway, where there is one, and the bridge.
    pub fn processes(&self) -> impl Iterator<Item = &Process> {
        self.gateway.process().into_iter().chain([&self.bridge.process])
    }

    /// Whether a fetch would work: the gateway's `/readyz`, or the bridge's, or why not.
    ///
    /// # Errors
    /// A text for people.
    ///
    /// # Cancel safety
    /// Nothing is left over.
    pub async fn ready(&self) -> Result<(), String> {
        Readiness::of(&self.gateway, &self.bridge).ask().await
    }

    /// Waits until a fetch would work.
    ///
    /// # Errors
    /// It is not ready after `within`, with the last reason, or a part ended meanwhile.
    ///
    /// # Cancel safety
    /// Nothing is left over.
    pub async fn ready_within(&mut self, within: Duration) -> Result<(), Error> {
        let readiness = Readiness::of(&self.gateway, &self.bridge);
        let Self { gateway, bridge, .. } = self;
        tokio::select! {
            ready = bridge.process.until("become ready for a fetch", within, async || readiness.ask().await) => ready,
            error = gateway.watch() => Err(error),
        }
    }

    /// Waits for a part to end that should not, and says which and how.
    ///
    /// # Cancel safety
    /// The parts run on.
    pub async fn watch(&mut self) -> Error {
        tokio::select! {
            error = self.gateway.watch() => error,
            error = self.bridge.process.watch() => error,
        }
    }

    /// Asks the bridge to end, then the gateway; each has `within` for it. What does not end in time is killed when the stack
    /// is dropped.
    ///
    /// # Cancel safety
    /// A part that was asked ends.
    pub async fn stop(&mut self, within: Duration) {
        // The bridge tells every session that it goes, through the gateway.
        for process in [Some(&mut self.bridge.process), self.gateway.process_mut()].into_iter().flatten() {
            process.terminate();
            let _ = process.wait(within).await;
        }
    }

    /// Its folder of configurations and logs.
    #[must_use]
    pub fn folder(&self) -> &Folder {
        &self.folder
    }
}
