//! Runs a whole Sluicegate on free local ports: for demo, benchmark, soak and the end-to-end tests.
//!
//! 1. [`stack`]: bridge and gateway together, for each [`way`] in; most callers need only this
//! 2. [`kafka`], [`nats`], [`registry`], [`bridge`], [`envoy`], [`nginx`], [`apisix`]: the parts, which tests kill and restart
//! 3. [`process`]: a child that never outlives this process
//! 4. [`socket`], [`json_socket`] and [`raw`], the clients; [`waiting`] and [`random`]
//! 5. [`secrets`], [`certificates`], [`tokens`]: credentials of clients and brokers; [`login`], where users get theirs
//! 6. [`port`], [`folder`], [`tools`], [`http`]: ports, logs, programs, and simple requests
//! 7. [`browser`]: scripts that drive a browser
//! 8. [`arguments`]: the command lines of demo, benchmark and soak
//!
//! Calls fail with an [`Error`] that names the part and shows the end of its log; those of the test clients panic.
//!
//! # Cancel safety
//! A dropped call leaves nothing running: processes, ports and folders end with their owners. What it has asked of a part
//! or of a messaging system can still take effect.

#![expect(missing_docs, reason = "tools of tests: a sentence only where a name does not say it")]

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
pub mod login;
pub mod nats;
pub mod nginx;
pub mod port;
pub mod process;
pub mod random;
pub mod raw;
pub mod registry;
pub mod secrets;
pub mod socket;
pub mod stack;
pub mod tokens;
pub mod tools;
pub mod waiting;
pub mod way;

pub use error::Error;
