//! What Envoy's configuration would say about the plugin and its worker.

use std::time::Duration;

/// How a [`Vm`](crate::Vm) is started. `"…".into()` is a plugin configuration with everything else at its default.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `PluginConfig.configuration`, given to the filter's `on_configure`.
    pub configuration: Vec<u8>,
    /// `VmConfig.configuration`, given to the filter's `on_vm_start`.
    pub vm_configuration: Vec<u8>,
    /// `PluginConfig.allow_on_headers_stop_iteration`; off by default, as in Envoy.
    pub allow_on_headers_stop_iteration: bool,
    /// Bytes that each direction of a stream may hold back before Envoy answers 413 (request) or 500 (response): the
    /// listener's `per_connection_buffer_limit_bytes`, 1 MiB by default.
    pub buffer_limit: usize,
    /// Names that `proxy_http_call` accepts as clusters; any other is answered with `BadArgument`.
    pub clusters: Vec<String>,
    /// Properties of the host, by path with NUL between its parts, as `proxy_get_property` takes it.
    pub properties: Vec<(Vec<u8>, Vec<u8>)>,
    /// The log level that `proxy_get_log_level` tells; 2 (info) by default.
    pub log_level: u32,
    /// The clock at the start, since 1970.
    pub now: Duration,
    /// WebAssembly instructions that one callback may use before it is a trap; by default a thousand million, seconds.
    /// Not in Envoy, where an endless loop stops the worker for good.
    pub instructions_per_callback: u64,
    /// Bytes of linear memory the filter may have; 1 GiB by default, as in cpp-host's `limits.h`.
    pub memory_limit: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            configuration: Vec::new(),
            vm_configuration: Vec::new(),
            allow_on_headers_stop_iteration: false,
            buffer_limit: 1024 * 1024,
            clusters: Vec::new(),
            properties: Vec::new(),
            log_level: 2,
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
