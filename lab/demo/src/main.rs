//! The demo: runs a Kafka, the bridge and Envoy with the filter on this machine, and prints commands to try.
//!
//! 1. [`args`]: the command line
//! 2. [`source`]: the messaging system that is read
//! 3. [`server`]: the Kafka or the nats-server that it starts, and a generator of records
//! 4. [`orders`]: a schema registry, and orders in Avro; [`login`]: an OpenID provider, if users log in
//! 5. [`routes`]: routes of the user's own
//! 6. [`demo`]: starts, watches and stops all parts
//! 7. [`hints`]: the demo's output

mod args;
mod demo;
mod hints;
mod login;
mod orders;
mod routes;
mod server;
mod source;

use std::error::Error;
use std::process::ExitCode;

use sluicegate_stack::arguments::{self, causes as sentence};

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

type Failure = Box<dyn Error>;
