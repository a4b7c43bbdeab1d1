//! The proxy-wasm ABI as a host sees it: what running a module takes, whichever gateway the host models.
//!
//! 1. `module`: the file is read, checked and compiled
//! 2. `import`, [`HostCall`]: the functions that a module may import, and how a call reaches them; `wasi` are those of WASI
//! 3. `guest`: the module's memory and allocator, seen from inside a call; `pairs` are header lists on their way across
//! 4. `system`: the state that both hosts need: `log`, `faults`, `memory_limit`, clock and random numbers
//! 5. [`Headers`], [`Response`], [`Trap`]: what a test sees of it

pub(crate) mod faults;
pub(crate) mod guest;
pub(crate) mod headers;
pub(crate) mod host_call;
pub(crate) mod import;
pub(crate) mod load_error;
pub(crate) mod log;
pub(crate) mod memory_limit;
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
