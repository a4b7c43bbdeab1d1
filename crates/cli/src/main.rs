//! `sluicegate`: Kafka and NATS from the command line, through the gateway that web clients use.
//!
//! 1. [`args`] parses the command line; [`position`] and [`template`] parse the two small languages in it
//! 2. [`settings`] adds what the environment and the [`config`] file say about URL, [`header`]s and TLS
//! 3. [`ping`], [`topics`], [`list_offsets`], [`fetch`], [`subscribe`] and [`produce`] are the commands; [`partitions`]
//!    finds a topic's partitions, [`log`] names them and streams, [`json`] reads and writes JSON lines and
//!    [`tally`] counts messages
//! 4. [`admin`] lists and ends the sessions of a bridge, and explains rights, over its admin port
//! 5. [`check_routes`] checks the configuration of the gateway's filter, which [`routes`] reads
//! 6. [`completion`] completes command lines for shells
//! 7. [`stdout`] takes payload, [`stderr`] everything else, [`progress`] and the debug log included
//! 8. [`failure`] turns errors into messages and an exit code, [`refusal`] what a gateway answers instead of a session

#![warn(clippy::arithmetic_side_effects)]

mod admin;
mod args;
mod check_routes;
mod completion;
mod config;
mod failure;
mod fetch;
mod header;
mod json;
mod list_offsets;
mod log;
mod partitions;
mod ping;
mod position;
mod produce;
mod progress;
mod refusal;
mod routes;
mod settings;
mod stderr;
mod stdout;
mod subscribe;
mod table;
mod tally;
mod template;
mod topics;
mod value_filter;

use std::fmt::Display;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use sluicegate_client::{Builder, Client, LoginError, Tls, printable_url};
use tokio::time::timeout;

use crate::args::{Admin, AdminCommand, Args, Command};
use crate::failure::{Failure, Interrupt};
use crate::settings::Settings;
use crate::stdout::Stdout;

fn main() -> ExitCode {
    if completion::answered() {
        return ExitCode::SUCCESS;
    }
    let args = match args::parse() {
        Ok(args) => args,
        Err(exit) => return exit,
    };
    if args.gateway.verbose {
        stderr::show_debug_log();
    }
    let environment = |name: &str| std::env::var(name).ok();
    let settings = match Settings::resolve(&args, &environment) {
        Ok(settings) => settings,
        Err(why) => return Failure::Settings(why).report(""),
    };
    let url = printable_url(&settings.url);
    let outcome =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::Start).and_then(
            |runtime| {
                let outcome = runtime.block_on(run(&args, settings, &url));
                // An ordinary shutdown would wait for a blocked write to a pipe that is not read.
                runtime.shutdown_background();
                outcome
            },
        );
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(&url),
    }
}

async fn run(args: &Args, settings: Settings, url: &str) -> Result<(), Failure> {
    let finishes = matches!(&args.command, Command::Subscribe(subscribe) if subscribe.group.is_some());
    let mut interrupt = Interrupt::watch(finishes);
    let mut stdout = Stdout::new();
    let gateway = &args.gateway;
    match &args.command {
        Command::Completions(completions) => {
            let script = completion::script(completions.shell).map_err(Failure::Start)?;
            stdout.write(&script).await
        }
        Command::Admin(Admin { command: AdminCommand::Sessions(sessions), .. }) => {
            interrupt.unless(admin::run(sessions, &settings, gateway, &mut stdout)).await
        }
        Command::Admin(Admin { command: AdminCommand::Explain(explain), .. }) => {
            interrupt.unless(admin::explain::run(explain, &settings, gateway, &mut stdout)).await
        }
        Command::CheckRoutes(check) => check_routes::run(check, gateway.quiet, &mut stdout).await,
        Command::Topics(topics) if settings.is_rest() => {
            let rest = builder(args, settings)?.rest().map_err(Failure::Connect)?;
            interrupt.unless(topics::of_rest(topics, rest, &mut stdout)).await
        }
        Command::Topics(topics) => {
            let client = connect(args, settings, &mut interrupt).await?;
            interrupt.unless(topics::of_session(topics, &client, &mut stdout)).await?;
            close(client).await
        }
        Command::Ping(ping) => {
            let client = connect(args, settings, &mut interrupt).await?;
            ping::run(ping, url, gateway.quiet, &client, &mut stdout, &mut interrupt).await?;
            close(client).await
        }
        Command::ListOffsets(list) => {
            let client = connect(args, settings, &mut interrupt).await?;
            interrupt.unless(list_offsets::run(list, &client, &mut stdout)).await?;
            close(client).await
        }
        Command::Fetch(fetch) => {
            let client = connect(args, settings, &mut interrupt).await?;
            fetch::run(fetch, gateway, &client, &mut stdout, &mut interrupt).await?;
            close(client).await
        }
        Command::Subscribe(subscribe) => {
            let client = connect(args, settings, &mut interrupt).await?;
            subscribe::run(subscribe, gateway, &client, &mut stdout, &mut interrupt).await?;
            close(client).await
        }
        Command::Table(table) => {
            let client = connect(args, settings, &mut interrupt).await?;
            table::run(table, gateway.quiet, &client, &mut stdout, &mut interrupt).await?;
            close(client).await
        }
        Command::Produce(produce) if produce.producer.is_some() => {
            let client = connect(args, settings, &mut interrupt).await?;
            produce::once(produce, gateway.quiet, url, client, &mut stdout, &mut interrupt).await
        }
        Command::Produce(produce) => {
            let client = connect(args, settings, &mut interrupt).await?;
            produce::run(produce, gateway.quiet, &client, &mut stdout, &mut interrupt).await?;
            close(client).await
        }
    }
}

async fn connect(args: &Args, settings: Settings, interrupt: &mut Interrupt) -> Result<Client, Failure> {
    let builder = builder(args, settings)?;
    interrupt.unless(async { builder.connect().await.map_err(Failure::Connect) }).await
}

fn builder(args: &Args, settings: Settings) -> Result<Builder, Failure> {
    let limit = args.gateway.timeout;
    let request_timeout = match args.command {
        // Kafka's own time comes on top.
        Command::Produce(_) => limit.saturating_add(DELIVERY_TIMEOUT),
        _ => limit,
    };
    let Settings { url, headers, token_file, cacert, identity } = settings;
    let mut builder = Client::builder(url).connect_timeout(limit).request_timeout(request_timeout);
    if matches!(&args.command, Command::Fetch(fetch) if fetch.follow) {
        // `fetch` reports and repeats failures itself, without an end.
        builder = builder.max_retries(0);
    }
    if cacert.is_some() || identity.is_some() {
        let identity = identity.as_ref().map(|(cert, key)| (cert.as_path(), key.as_path()));
        builder = builder.tls(Tls::new(cacert.as_deref(), identity).map_err(Failure::Connect)?);
    }
    if let Some(file) = token_file {
        builder = builder.refresh(move || token(file.clone()));
    }
    for header in headers {
        builder = builder.header(header.name, header.value);
    }
    Ok(builder)
}

/// The token in a file. Programs that replace it can leave none for a moment.
async fn token(file: PathBuf) -> Result<String, LoginError> {
    let failed =
        |why: &dyn Display| LoginError { detail: format!("{}: {why}", file.display()), retriable: true };
    let text = fs::read_to_string(&file).map_err(|why| failed(&why))?;
    match text.trim() {
        "" => Err(failed(&"expected a JSON Web Token, the file is empty")),
        token => Ok(token.to_owned()),
    }
}

/// Succeeds even if the server does not answer the Close: the work is done.
async fn close(client: Client) -> Result<(), Failure> {
    let _ = timeout(CLOSE_TIMEOUT, client.close()).await;
    Ok(())
}

/// Time that the bridge waits for Kafka to acknowledge a record, by default.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(30);
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
