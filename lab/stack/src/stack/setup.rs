//! The settings of a stack.

use std::path::PathBuf;

use crate::apisix;
use crate::nginx::Route;
use crate::port::Port;
use crate::way::Way;

pub struct Setup {
    pub way: Way,
    pub bridge: BridgeConfig,
    /// Environment variables that override its keys; by default one that gives its threads small stacks.
    pub bridge_environment: Vec<(String, String)>,
    /// Bridges with this configuration. More than one need Envoy in its profile `tunnel`, which shares clients among
    /// them.
    pub bridges: u32,
    /// The gateway's port for clients; by default a free one.
    pub gateway: Option<Port>,
    pub routes: Vec<Route>,
    pub apisix: apisix::Setup,
    pub concurrency: u32,
    /// An Envoy to run instead of the installed one.
    pub envoy: Option<PathBuf>,
    /// Replacements for exact texts of Envoy's configuration.
    pub envoy_edits: Vec<(String, String)>,
}

/// The source of the bridge's configuration. Its addresses are overridden.
#[derive(Clone)]
pub enum BridgeConfig {
    /// One cluster, `default`.
    Cluster {
        bootstrap: String,
        /// Further TOML: top-level keys, then tables.
        settings: String,
    },
    /// The user's own TOML.
    Text(String),
}

/// Half of the default of 2 MiB: requests that come near to it overflow in tests first.
const STACK: [&str; 2] = ["RUST_MIN_STACK", "1048576"];

impl Setup {
    /// Defaults: `/pubsub` is the only route, there is one bridge, and Envoy has two workers.
    pub fn new(way: impl Into<Way>, bootstrap: impl Into<String>) -> Self {
        let bridge = BridgeConfig::Cluster { bootstrap: bootstrap.into(), settings: String::new() };
        Self {
            way: way.into(),
            bridge,
            bridge_environment: vec![STACK.map(str::to_owned).into()],
            bridges: 1,
            gateway: None,
            routes: vec![Route::new("/pubsub")],
            apisix: apisix::Setup::default(),
            concurrency: 2,
            envoy: None,
            envoy_edits: Vec::new(),
        }
    }
}
