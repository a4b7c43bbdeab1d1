//! Runs everything under load for minutes or hours, and watches that nothing grows and no record is lost.
//!
//! 1. [`live`]: subscribers while everything is killed, also as tests of a minute
//! 2. [`groups`]: consumers in groups likewise
//! 3. [`page`]: the live page's memory
//! 4. [`everything`]: many ways in and kinds of clients for hours
//! 5. `clients`: subscribe in each format; `processes`: memory, descriptors and threads of gateways and bridges

#![expect(missing_docs, reason = "a tool of tests: a sentence only where a name does not say it")]

mod clients;
pub mod everything;
pub mod groups;
pub mod live;
pub mod page;
mod processes;

use std::error::Error;

/// The error of any part; only its text is used.
pub type Failure = Box<dyn Error + Send + Sync>;

#[expect(clippy::print_stdout, reason = "a program's output")]
pub fn say(line: &str) {
    println!("{line}");
}
