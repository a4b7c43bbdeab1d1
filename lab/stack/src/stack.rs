//! Bridge and gateway in front of a Kafka.

mod gateway;
mod setup;

use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::thread;
use std::time::Duration;

use gateway::Gateway;
pub use setup::{BridgeConfig, Setup};

use crate::bridge::{self, Bridge};
use crate::envoy::{Envoy, beside};
use crate::folder::Folder;
use crate::process::Process;
use crate::way::Way;
use crate::{Error, http};

/// A running gateway and bridge. Dropping it stops both.
pub struct Stack {
    gateway: Gateway,
    pub bridge: Bridge,
    pub others: Vec<Bridge>,
    way: Way,
    folder: Folder,
}

impl Stack {
    /// Starts the bridge, then the gateway. Kafka may be down.
    pub async fn start(mut setup: Setup) -> Result<Self, Error> {
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
        let start = async || Bridge::start(&config, setup.bridge_environment.clone(), folder.path()).await;
        let bridge = start().await?;
        let mut others = Vec::new();
        for _ in 1..setup.bridges {
            others.push(start().await?);
        }
        setup.envoy_edits.extend(beside(&others));
        let way = setup.way;
        let gateway = Gateway::start(setup, &bridge, folder.path()).await?;
        Ok(Self { gateway, bridge, others, way, folder })
    }

    pub fn way(&self) -> Way {
        self.way
    }

    pub fn gateway(&self) -> SocketAddr {
        self.gateway.address(&self.bridge)
    }

    /// The URL for pub/sub clients.
    pub fn url(&self) -> String {
        format!("ws://{}/pubsub", self.gateway())
    }

    #[expect(clippy::panic, reason = "for tests alone")]
    pub fn envoy(&self) -> &Envoy {
        match &self.gateway {
            Gateway::Envoy(envoy) => envoy,
            Gateway::Nginx(_) | Gateway::Apisix(_) | Gateway::None => panic!("this stack has no Envoy"),
        }
    }

    #[expect(clippy::panic, reason = "for tests alone")]
    pub fn envoy_mut(&mut self) -> &mut Envoy {
        match &mut self.gateway {
            Gateway::Envoy(envoy) => envoy,
            Gateway::Nginx(_) | Gateway::Apisix(_) | Gateway::None => panic!("this stack has no Envoy"),
        }
    }

    pub fn bridges(&self) -> impl Iterator<Item = &Bridge> {
        [&self.bridge].into_iter().chain(&self.others)
    }

    /// The gateway's process, if any, and those of the bridges.
    pub fn processes(&self) -> impl Iterator<Item = &Process> {
        self.gateway.process().into_iter().chain(self.bridges().map(|bridge| &bridge.process))
    }

    /// Whether a fetch would work, by `/readyz` of gateway or bridge.
    pub async fn ready(&self) -> Result<(), String> {
        let (address, path) = self.gateway.readiness(&self.bridge);
        http::is_ok(address, path).await
    }

    /// Waits until a fetch would work.
    pub async fn ready_within(&mut self, within: Duration) -> Result<(), Error> {
        let (address, path) = self.gateway.readiness(&self.bridge);
        let Self { gateway, bridge, .. } = self;
        tokio::select! {
            ready = bridge.process.until("become ready for a fetch", within, async || http::is_ok(address, path).await) => ready,
            error = gateway.watch() => Err(error),
        }
    }

    /// The memory of the filter in APISIX's emulated host, in bytes; `None` with another gateway.
    pub fn filter_memory(&self) -> Option<u64> {
        match &self.gateway {
            Gateway::Apisix(apisix) => Some(apisix.memory_bytes()),
            Gateway::Envoy(_) | Gateway::Nginx(_) | Gateway::None => None,
        }
    }

    /// Waits until a part ends unexpectedly; returns the error.
    pub async fn watch(&mut self) -> Error {
        tokio::select! {
            error = self.gateway.watch() => error,
            error = self.bridge.process.watch() => error,
        }
    }

    /// Stops the bridges, then the gateway, with SIGTERM, and waits up to `within` for each. Dropping the stack kills
    /// what is left.
    pub async fn stop(&mut self, within: Duration) {
        // The bridges first: they close their sessions through the gateway.
        let bridges =
            [&mut self.bridge].into_iter().chain(&mut self.others).map(|bridge| &mut bridge.process);
        for process in bridges.chain(self.gateway.process_mut()) {
            process.terminate();
            let _ = process.wait(within).await;
        }
    }

    pub fn folder(&self) -> &Folder {
        &self.folder
    }
}

/// A stack in use. Shared stacks outlive their tests, so a failing test prints the ends of their logs.
pub struct Lent<T: Deref<Target = Stack>>(pub T);

impl<T: Deref<Target = Stack>> Deref for Lent<T> {
    type Target = Stack;

    fn deref(&self) -> &Stack {
        &self.0
    }
}

impl<T: DerefMut<Target = Stack>> DerefMut for Lent<T> {
    fn deref_mut(&mut self) -> &mut Stack {
        &mut self.0
    }
}

impl<T: Deref<Target = Stack>> Drop for Lent<T> {
    #[expect(clippy::print_stderr, reason = "a failed test's output")]
    fn drop(&mut self) {
        if thread::panicking() {
            for process in self.0.processes() {
                eprintln!("--- the end of {}\n{}", process.log().display(), process.log_tail());
            }
        }
    }
}
