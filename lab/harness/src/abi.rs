//! The host's side of the proxy-wasm ABI, for any gateway.
//!
//! 1. `module`: reads, checks, compiles and runs a module
//! 2. `import`, [`HostCall`]: the functions that a module can import, and their dispatch; `wasi`: those of WASI
//! 3. `guest`: the module's memory and allocator, as a host call uses them
//! 4. `system`: the state that both hosts need: limits, log and faults
//! 5. [`Controls`], `errors`, [`Headers`], [`Response`]: what a test sets and sees

pub(crate) mod controls;
pub(crate) mod errors;
pub(crate) mod guest;
pub(crate) mod headers;
pub(crate) mod host_call;
pub(crate) mod import;
pub(crate) mod log;
pub(crate) mod module;
pub(crate) mod system;
pub(crate) mod wasi;

pub use controls::Controls;
pub use errors::{LoadError, StartError, Trap};
pub use headers::{Headers, Response};
pub use host_call::{HostCall, Status};
pub use log::{Level, LogLine};
pub use module::imports;
pub use system::When;
