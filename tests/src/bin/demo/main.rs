//! Sluicegate on this machine, to be tried: a Kafka, the bridge, Envoy with the filter, and what to type next.
//!
//! 1. [`args`]: what the user asked for
//! 2. [`embedded`]: a Kafka inside this program, and readings that fill its topic
//! 3. [`demo`]: everything started, watched and stopped
//! 4. [`hints`]: what is told once all is ready

mod args;
mod demo;
mod embedded;
mod hints;

use std::error::Error;
use std::iter::successors;
use std::process::ExitCode;

#[tokio::main]
#[expect(clippy::print_stderr, reason = "a program's errors")]
async fn main() -> ExitCode {
    let args = match args::parse() {
        Ok(args) => args,
        Err(exit) => return exit,
    };
    match demo::run(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {}", sentence(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

/// An error with its reasons.
fn sentence(error: &(dyn Error + 'static)) -> String {
    successors(Some(error), |&error| error.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
