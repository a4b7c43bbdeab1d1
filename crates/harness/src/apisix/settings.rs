//! What nginx's configuration would say of a worker.

/// What nginx's configuration, and the harness, say of a worker.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The plugin's name in APISIX' `config.yaml`.
    pub name: String,
    /// Bytes that a request's body may have, nginx's `client_max_body_size`; 0, APISIX' default, for any number.
    pub client_max_body_size: usize,
    /// WebAssembly instructions that one callback may use; by default a thousand million, seconds. The real host has no
    /// such bound: the worker would hang.
    pub instructions_per_callback: u64,
    /// Bytes of linear memory the filter may have; 1 GiB by default. The real host has no bound.
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
