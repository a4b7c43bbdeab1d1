//! The settings of a cluster.

/// The settings of a cluster.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The number of nodes. Their racks are `rack-1`, `rack-2`, …
    pub nodes: usize,
    /// Further listeners of each node. The tests themselves use the plain one.
    pub listeners: Vec<Listener>,
    /// Further lines of each node's `server.properties`, which override the defaults.
    pub properties: String,
    /// Options of each node's JVM.
    pub java: Vec<String>,
    /// Further arguments of Kafka's formatter, such as `--add-scram`.
    pub format: Vec<String>,
}

/// A listener with another protocol or host.
#[derive(Debug, Clone, Copy)]
pub struct Listener {
    /// As in `listener.name.NAME.…`, in capitals.
    pub name: &'static str,
    /// As in `listener.security.protocol.map`.
    pub protocol: &'static str,
    /// The host that it is bound to and advertises.
    pub host: &'static str,
}

impl Default for Setup {
    fn default() -> Self {
        let (listeners, java, format) = (Vec::new(), Vec::new(), Vec::new());
        Self { nodes: 1, listeners, properties: String::new(), java, format }
    }
}
