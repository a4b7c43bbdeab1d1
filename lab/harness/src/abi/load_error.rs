//! Causes for which a module does not load.

use std::io;
use std::path::PathBuf;

/// Why a host rejects a module.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file does not exist or is not readable.
    #[error("read the filter {}", path.display())]
    Read {
        /// As given.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The bytes are not a valid WebAssembly module.
    #[error("compile the filter: {0}")]
    Compile(wasmi::Error),
    /// Envoy, `Missing or unknown Proxy-Wasm ABI version`.
    #[error("load a filter without the export {ABI}")]
    Abi,
    /// Envoy, `Wasm module is missing malloc function`.
    #[error("load a filter that exports neither malloc nor proxy_on_memory_allocate")]
    Allocator,
    /// wasm-nginx-module, `the wasm plugin doesn't export memory`.
    #[error("load a filter that exports no memory")]
    Memory,
    /// The module imports functions that this host lacks.
    #[error("load a filter with imports that this host does not have: {0}")]
    Imports(String),
    /// An import's type differs from the host function's.
    #[error("link the filter: {0}")]
    Link(String),
}

/// The export that names the module's version of the ABI.
pub(crate) const ABI: &str = "proxy_abi_version_0_2_1";
