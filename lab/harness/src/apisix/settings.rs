//! The settings of a worker in nginx's configuration.

/// The settings of a worker.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The plugin's name in APISIX's `config.yaml`.
    pub name: String,
    /// Limit of a request's body in bytes, nginx's `client_max_body_size`; 0, APISIX's default, for none.
    pub client_max_body_size: usize,
    /// WebAssembly instructions per callback; 1,000 million by default, a few seconds. The real host has no such limit:
    /// the worker would hang.
    pub instructions_per_callback: u64,
    /// Limit of linear memory in bytes; 1 GiB by default. The real host has none.
    pub memory_limit: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: "sluicegate".to_owned(),
            client_max_body_size: 0,
            instructions_per_callback: 1_000_000_000,
            memory_limit: 1024 * 1024 * 1024,
        }
    }
}
