//! A proxy-wasm host that behaves as Envoy 1.40 does.
//!
//! A test plays the client and the upstream and asserts what either of them would see:
//!
//! 1. [`Filter`]: the module, with its imports checked against this host's
//! 2. [`Vm`]: one instance per test, started with a plugin configuration; it holds the log, the metrics and the clock
//! 3. [`Stream`]: one HTTP request with its response, driven from both ends
//! 4. `pipeline`: what Envoy's filter manager does around each callback: forward, hold back, answer locally, reset
//! 5. `calls`: the `proxy_*` functions that the filter imports, over the state that the test drives
//! 6. [`Controls`](crate::Controls): failing host calls and short memory
//!
//! Each rule names its source: *Envoy* is `source/extensions/common/wasm/context.cc` of Envoy, *filter
//! manager* its `source/common/http/filter_manager.cc`, *cpp-host* is `proxy-wasm-cpp-host`, `src/`. Where this host is
//! stricter than Envoy, a comment says so.
//!
//! Absent: the host calls and callbacks that the filter does not use, network filters, maps of trailers, metadata
//! frames, routes and timeouts, limits of held bytes, other filters in the chain, the headers that the connection
//! manager adds and removes before the filter (`x-request-id`, those that `connection` names), the restriction of host
//! calls while `_initialize` runs, and the fresh VM that `FAIL_RELOAD` makes after a trap: here, a VM that trapped
//! answers every later request with 503.

mod calls;
mod exchange;
mod host;
mod machine;
mod pipeline;
mod stream;
mod vm;

pub use calls::supports;
pub use stream::{Outcome, Stream};
pub use vm::{Filter, Vm};
