//! The settings of a cluster.

/// The settings of a cluster.
#[derive(Debug, Clone)]
pub struct Setup {
    /// How many nodes. Their racks are `rack-1` and so on.
    pub nodes: usize,
    /// The listeners of each node besides the plain one, which the tests themselves use.
    pub listeners: Vec<Listener>,
    /// Further lines of each node's `server.properties`; they hold against those that are always there.
    pub properties: String,
    /// Options of each node's Java.
    pub java: Vec<String>,
    /// Further arguments of Kafka's formatter, such as `--add-scram`.
    pub format: Vec<String>,
}

/// A listener of another protocol, or at another host.
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
