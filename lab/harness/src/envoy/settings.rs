//! The settings of the plugin and its worker in Envoy's configuration.

use std::time::Duration;

/// The settings of a [`Vm`](super::Vm). `"…".into()` is a plugin configuration with defaults for the rest.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `PluginConfig.configuration`, given to the filter's `on_configure`.
    pub configuration: Vec<u8>,
    /// `VmConfig.configuration`, given to the filter's `on_vm_start`.
    pub vm_configuration: Vec<u8>,
    /// Bytes that each direction of a stream can hold back; above it, Envoy answers 413 (request) or 500 (response).
    /// The listener's `per_connection_buffer_limit_bytes`, 1 MiB by default.
    pub buffer_limit: usize,
    /// Properties of the host by path, with NUL between its parts, as in `proxy_get_property`. By default
    /// `source.address` is `10.0.0.9:50000`.
    pub properties: Vec<(Vec<u8>, Vec<u8>)>,
    /// The clock at the start, since 1970.
    pub now: Duration,
    /// WebAssembly instructions before a callback traps; 1,000 million by default, a few seconds. Envoy has no such
    /// limit: an endless loop blocks its worker.
    pub instructions_per_callback: u64,
    /// Limit of linear memory in bytes; 1 GiB by default, as in cpp-host's `limits.h`.
    pub memory_limit: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            configuration: Vec::new(),
            vm_configuration: Vec::new(),
            buffer_limit: 1024 * 1024,
            properties: vec![(b"source\0address".to_vec(), b"10.0.0.9:50000".to_vec())],
            now: Duration::from_secs(1_700_000_000),
            instructions_per_callback: 1_000_000_000,
            memory_limit: 1024 * 1024 * 1024,
        }
    }
}

impl From<&str> for Settings {
    fn from(configuration: &str) -> Self {
        configuration.as_bytes().into()
    }
}

impl From<&[u8]> for Settings {
    fn from(configuration: &[u8]) -> Self {
        Self { configuration: configuration.to_vec(), ..Self::default() }
    }
}
