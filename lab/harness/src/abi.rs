//! The host's side of the proxy-wasm ABI, for any gateway.
//!
//! 1. `module`: reads, checks and compiles a module
//! 2. `import`, [`HostCall`]: the functions that a module can import, and their dispatch; `wasi`: those of WASI
//! 3. `guest`: the module's memory and allocator, as a host call uses them; `pairs`: the wire format of header lists
//! 4. `system`: the state that both hosts need: `log`, `faults`, limits; `instance`: the running module
//! 5. `coverage`: the counters of a module for fuzzing
//! 6. [`Headers`], [`Response`], [`Trap`]: the results that a test sees

pub(crate) mod coverage;
pub(crate) mod faults;
pub(crate) mod guest;
pub(crate) mod headers;
pub(crate) mod host_call;
pub(crate) mod import;
pub(crate) mod instance;
pub(crate) mod load_error;
pub(crate) mod log;
pub(crate) mod module;
pub(crate) mod pairs;
pub(crate) mod response;
pub(crate) mod start_error;
pub(crate) mod status;
pub(crate) mod system;
pub(crate) mod trap;
pub(crate) mod wasi;

pub use faults::When;
pub use headers::Headers;
pub use host_call::HostCall;
pub use load_error::LoadError;
pub use log::{Level, LogLine};
pub use module::imports;
pub use response::Response;
pub use start_error::StartError;
pub use status::Status;
pub use trap::Trap;
