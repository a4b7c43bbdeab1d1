//! `sluicegate`: Kafka from the command line, through the gateway that web clients use.
//!
//! 1. [`args`] turns the command line into values; [`position`] and [`template`] parse the two small languages in it
//! 2. [`list_offsets`], [`fetch`] and [`ping`] are the commands
//! 3. [`stdout`] takes payload, [`stderr`] everything else
//! 4. [`failure`] turns what went wrong into words and an exit code

#![warn(clippy::arithmetic_side_effects)]

mod args;
mod failure;
mod fetch;
mod interrupt;
mod json;
mod list_offsets;
mod ping;
mod position;
mod progress;
mod stderr;
mod stdout;
mod template;

use std::process::ExitCode;
use std::time::Duration;

use sluicegate_client::Client;
use tokio::time::timeout;

use crate::args::{Args, Command, Gateway};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::stdout::Stdout;

fn main() -> ExitCode {
    let args = match args::parse() {
        Ok(args) => args,
        Err(exit) => return exit,
    };
    let outcome =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::Start).and_then(
            |runtime| {
                let outcome = runtime.block_on(run(&args));
                // A write to a pipe that nobody empties would keep an ordinary shutdown waiting.
                runtime.shutdown_background();
                outcome
            },
        );
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(&args.gateway.url),
    }
}

async fn run(args: &Args) -> Result<(), Failure> {
    let mut interrupt = Interrupt::watch();
    let mut stdout = Stdout::new();
    let client = interrupt.unless(connect(&args.gateway)).await?;
    match &args.command {
        Command::Ping(ping) => {
            ping::run(ping, &args.gateway, &client, &mut stdout, &mut interrupt).await?;
        }
        Command::ListOffsets(list) => {
            interrupt.unless(list_offsets::run(list, &client, &mut stdout)).await?;
        }
        Command::Fetch(fetch) => {
            fetch::run(fetch, args.gateway.quiet, &client, &mut stdout, &mut interrupt).await?;
        }
    }
    // The work is done: a server that does not answer the Close changes nothing about it.
    let _ = timeout(CLOSE_TIMEOUT, client.close()).await;
    Ok(())
}

async fn connect(gateway: &Gateway) -> Result<Client, Failure> {
    let mut builder =
        Client::builder(&gateway.url).connect_timeout(gateway.timeout).request_timeout(gateway.timeout);
    for header in &gateway.headers {
        builder = builder.header(&header.name, &header.value);
    }
    builder.connect().await.map_err(Failure::Connect)
}

const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
