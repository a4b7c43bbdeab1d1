//! A whole Sluicegate on free ports of this machine, for the end-to-end tests, the benchmarks and the demo.
//!
//! 1. [`stack`]: Kafka, bridge and gateway together, whichever [`way`] in it is; what most callers want
//! 2. [`kafka`], [`bridge`], [`envoy`], [`relay`], [`apisix`]: the parts, each of which can be killed, frozen and started again
//! 3. [`process`]: a child that never outlives this process, however it ends
//! 4. [`socket`] and [`raw`], the two clients; [`waiting`], [`random`], [`in_both_profiles`], [`in_every_way`],
//!    [`in_every_gateway`]: what tests of several programs share
//! 5. [`secrets`], [`certificates`], [`tokens`]: what clients and brokers know each other by
//! 6. [`port`], [`folder`], [`tools`], [`http`]: where they listen, write, come from, and how they are asked
//! 7. [`arguments`]: the command lines of the programs around it

pub mod apisix;
pub mod arguments;
pub mod bridge;
pub mod certificates;
pub mod envoy;
mod error;
pub mod folder;
pub mod http;
pub mod kafka;
pub mod port;
pub mod process;
mod profiles;
pub mod random;
pub mod raw;
pub mod relay;
pub mod secrets;
pub mod socket;
pub mod stack;
pub mod tokens;
pub mod tools;
pub mod waiting;
pub mod way;

pub use error::Error;
