//! A proxy-wasm host for tests: it loads the compiled filter and behaves as Envoy 1.40 does for the calls the filter uses.
//!
//! The second host, which behaves as Apache APISIX does, is [`apisix`]. This one is a small Envoy, not a script of expected
//! calls. A test plays the client and the upstream and asserts what either of them would see:
//!
//! 1. [`Filter`]: the module is compiled once per process and its imports are checked against what this host has
//! 2. [`Vm`]: one instance per test, started with a plugin configuration; it holds the log, the metrics and the clock
//! 3. [`Stream`]: one HTTP request with its response, driven from both ends
//! 4. `pipeline`: what Envoy's filter manager does around each callback: forward, hold back, answer locally, reset
//! 5. `calls`: the `proxy_*` and WASI functions that the filter imports, over the state that the test drives
//! 6. [`Vm::refuse`], [`Vm::limit_memory`]: the same host on a bad day
//!
//! Each rule says in which source it was read: *Envoy* is `source/extensions/common/wasm/context.cc` of Envoy, *filter
//! manager* its `source/common/http/filter_manager.cc`, *cpp-host* is `proxy-wasm-cpp-host`, `src/`. Where this host is
//! stricter than Envoy, the place says so.
//!
//! Absent: network filters, shared data and queues, call-outs, metadata frames, routes and timeouts, other filters in
//! the chain, the headers that the connection manager itself adds and removes before the filter (`x-request-id`, those
//! that `connection` names), the restriction of host calls while `_initialize` runs, and the fresh VM that `FAIL_RELOAD`
//! makes after a trap: here a VM that trapped answers 503 to whatever comes next.
//!
//! ```no_run
//! use sluicegate_harness::{Filter, Outcome};
//!
//! let filter = Filter::load("target/wasm32-wasip1/wasm/filter.wasm")?;
//! let vm = filter.start(r#"{"cluster":"default"}"#)?;
//! let mut stream = vm.request([(":method", "GET"), (":path", "/pubsub"), (":authority", "example.org")]);
//! assert!(matches!(stream.outcome(), Outcome::Answered(response) if response.status() == 400));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod apisix;
mod calls;
mod exchange;
mod fault;
mod filter;
mod guest;
mod headers;
mod host;
mod local_reply;
mod log;
mod machine;
mod metric;
mod module;
mod pairs;
mod pipeline;
mod settings;
mod status;
mod stream;
mod vm;

pub use calls::HostCall;
pub use fault::When;
pub use filter::{Filter, StartError};
pub use headers::Headers;
pub use log::{Level, LogLine};
pub use machine::Trap;
pub use module::{LoadError, imports};
pub use settings::Settings;
pub use status::Status;
pub use stream::{Outcome, Response, Stream};
pub use vm::Vm;
