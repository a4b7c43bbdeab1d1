//! A proxy-wasm host that behaves as `wasm-nginx-module`, the host of Apache APISIX, does.
//!
//! A test plays the client and the upstream:
//!
//! 1. [`Plugin`]: the module, loaded as `proxy-wasm.lua` does, with the features of wasmtime 0.38
//! 2. [`Worker`]: one nginx worker with an instance of the module, its log and its contexts
//! 3. [`Route`]: a route's `conf`; its plugin context is created at the first request
//! 4. [`Stream`]: one request with its response
//! 5. `machine`, `phases`: the steps of `wasm.lua`, `proxy-wasm.lua` and the module around each callback
//! 6. `calls`: the module's functions, in three tables: those that work, are ignored, are not implemented
//!
//! Each rule names its source: *M* is `src/http/ngx_http_wasm_module.c` of wasm-nginx-module 0.7.0, *A* is
//! `ngx_http_wasm_api.c` beside it, *V* its `src/vm/wasmtime.c`, *L* its `lib/resty/proxy-wasm.lua`; *W* is
//! `apisix/wasm.lua` of APISIX 3.18; *H* is lua-nginx-module's `ngx_http_lua_headers_in.c`. Measurements on that APISIX
//! agree with them.
//!
//! Where the real host crashes, hangs or reads freed memory, this one stops, and the test fails unless it reads
//! [`Worker::trap`].
//!
//! Absent: the host calls that the filter does not make, callbacks for bodies and their limit, HTTP/3, other plugins, the rewrite phase, the lines that APISIX adds to a
//! request in front of its plugins (`x-forwarded-proto`, `-host` and `-port`), what nginx itself sets on the way to the
//! upstream (`host`, `connection`, `x-forwarded-for`) and to the client (`date`, a `charset`), plugins of the
//! proxy-wasm ABI 0.1.0, `externref`, and all variables but those of [`VARIABLES`].

mod calls;
mod exchange;
mod host;
mod lines;
mod machine;
mod phases;
mod worker;

pub use calls::{Support, support};
pub use exchange::{Outcome, VARIABLES};
pub use worker::{Plugin, Route, Stream, Worker};
