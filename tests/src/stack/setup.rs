//! The settings of a stack.

use std::path::PathBuf;

use crate::apisix;
use crate::port::Port;
use crate::relay::Route;
use crate::way::Way;

/// The parts of a stack.
pub struct Setup {
    /// Which gateway.
    pub way: Way,
    /// The bridge's.
    pub bridge: BridgeConfig,
    /// Variables that override keys of it.
    pub bridge_environment: Vec<(String, String)>,
    /// The gateway's port for clients; None: a free one.
    pub gateway: Option<Port>,
    /// nginx's routes.
    pub routes: Vec<Route>,
    /// APISIX's configuration.
    pub apisix: apisix::Setup,
    /// Envoy's worker threads.
    pub concurrency: u32,
    /// Another Envoy than the installed one.
    pub envoy: Option<PathBuf>,
    /// Exact texts of Envoy's configuration, and what stands there for this run.
    pub envoy_edits: Vec<(String, String)>,
}

/// The source of the bridge's configuration. Its addresses are overridden.
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
    /// A gateway in front of this Kafka, an Envoy with two workers, all else at its default: `/pubsub` is its one route.
    pub fn new(way: impl Into<Way>, bootstrap: impl Into<String>) -> Self {
        let bridge = BridgeConfig::Cluster { bootstrap: bootstrap.into(), settings: String::new() };
        Self {
            way: way.into(),
            bridge,
            bridge_environment: Vec::new(),
            gateway: None,
            routes: vec![Route::new("/pubsub")],
            apisix: apisix::Setup::default(),
            concurrency: 2,
            envoy: None,
            envoy_edits: Vec::new(),
        }
    }
}
