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

use sluicegate_tests::arguments;

use crate::args::Args;

#[tokio::main]
async fn main() -> ExitCode {
    let args: Args = match arguments::parse() {
        Ok(Args { check_arguments: true, .. }) => return ExitCode::SUCCESS,
        Ok(args) => args,
        Err(exit) => return exit,
    };
    match demo::run(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            hints::say(&sentence(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

/// An error with its reasons.
fn sentence(error: &(dyn Error + 'static)) -> String {
    successors(Some(error), |&error| error.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
