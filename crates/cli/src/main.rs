//! `sluicegate`: Kafka from the command line, through the gateway that web clients use.
//!
//! 1. [`args`] turns the command line into values; [`position`] and [`template`] parse the two small languages in it
//! 2. [`list_offsets`], [`fetch`], [`produce`] and [`ping`] are the commands; [`records`] reads what is to be produced
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
mod produce;
mod progress;
mod records;
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
    let client = interrupt.unless(connect(args)).await?;
    match &args.command {
        Command::Ping(ping) => {
            ping::run(ping, &args.gateway, &client, &mut stdout, &mut interrupt).await?;
        }
        Command::ListOffsets(list) => {
            interrupt.unless(list_offsets::run(list, &client, &mut stdout)).await?;
        }
        Command::Fetch(fetch) => {
            fetch::run(fetch, &args.gateway, &client, &mut stdout, &mut interrupt).await?;
        }
        Command::Produce(produce) => {
            produce::run(produce, args.gateway.quiet, &client, &mut interrupt).await?;
        }
    }
    // The work is done: a server that does not answer the Close changes nothing about it.
    let _ = timeout(CLOSE_TIMEOUT, client.close()).await;
    Ok(())
}

async fn connect(args: &Args) -> Result<Client, Failure> {
    let Gateway { url, timeout, .. } = &args.gateway;
    let request_timeout = match args.command {
        // Kafka is given a time of its own.
        Command::Produce(_) => timeout.saturating_add(DELIVERY_TIMEOUT),
        _ => *timeout,
    };
    let mut builder = Client::builder(url).connect_timeout(*timeout).request_timeout(request_timeout);
    for header in args.headers() {
        builder = builder.header(&header.name, &header.value);
    }
    builder.connect().await.map_err(Failure::Connect)
}

/// How long the bridge gives Kafka for a record, unless it is configured otherwise.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(30);
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
