//! Runs a whole Sluicegate on free local ports, for the end-to-end tests, the benchmarks and the demo.
//!
//! 1. [`stack`]: bridge and gateway together, for each [`way`] in; most callers need only this
//! 2. [`kafka`], [`bridge`], [`envoy`], [`nginx`], [`apisix`]: the parts, which tests kill, freeze and restart
//! 3. [`process`]: a child that never outlives this process
//! 4. [`socket`], [`json_socket`] and [`raw`], the clients; [`waiting`], [`random`], [`in_every_profile`],
//!    [`in_every_way`], [`in_every_gateway`]: helpers for tests
//! 5. [`secrets`], [`certificates`], [`tokens`]: credentials of clients and brokers
//! 6. [`port`], [`folder`], [`tools`], [`http`]: ports, logs, programs, and simple requests
//! 7. [`live`]: the checker of live delivery; [`nats`]: what its benchmark is compared with
//! 8. [`browser`]: scripts that drive a browser
//! 9. [`arguments`]: the command lines of demo, benchmark and soak

pub mod apisix;
pub mod arguments;
pub mod bridge;
pub mod browser;
pub mod certificates;
pub mod envoy;
mod error;
pub mod folder;
pub mod http;
pub mod json_socket;
pub mod kafka;
pub mod live;
pub mod nats;
pub mod nginx;
pub mod port;
pub mod process;
mod profiles;
pub mod random;
pub mod raw;
pub mod secrets;
pub mod socket;
pub mod stack;
pub mod tokens;
pub mod tools;
pub mod waiting;
pub mod way;

pub use error::Error;
