//! `sluicegate-bridge`: parse, start, wait for a signal, drain, exit.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use rustix::process::{Resource, getrlimit, setrlimit};
use sluicegate_bridge::Bridge;
use sluicegate_bridge::config::{Config, Limits, Place, Problem};
use sluicegate_bridge::logging::{self, Filter};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

/// Answers Sluicegate's gateways from Kafka.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    /// The configuration, in TOML; SLUICEGATE_… variables override it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Checks the configuration and RUST_LOG, and exits: 0 when they can be used, 2 when they cannot.
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let path = arguments.config.as_deref();
    let (config, filter) = match load(path) {
        Ok(loaded) => loaded,
        Err(problems) => return fail(2, problems.iter().map(|problem| line(path, problem))),
    };
    if arguments.check {
        return ExitCode::SUCCESS;
    }
    if let Err(error) = logging::start(config.log_format, filter) {
        return fail(1, std::iter::once(format!("failed to start logging: {error}")));
    }
    match run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(1, std::iter::once(format!("failed to {error}"))),
    }
}

fn run(config: Config) -> Result<(), String> {
    let runtime = Runtime::new().map_err(|error| format!("start threads: {error}"))?;
    let served = runtime.block_on(serve(config));
    // What still blocks a thread, as a producer's end may, is not waited for: the time to drain is over.
    runtime.shutdown_background();
    served
}

async fn serve(config: Config) -> Result<(), String> {
    if !config.ignored_variables.is_empty() {
        tracing::warn!(variables = ?config.ignored_variables, "not keys of this configuration, ignored");
    }
    raise_descriptors(&config.limits);
    let (mut terminate, mut interrupt) = signals().map_err(|error| format!("listen for signals: {error}"))?;
    let bridge = Bridge::start(config).await.map_err(|error| format!("{error}: {}", error.source))?;
    let (address, admin) = (bridge.address(), bridge.admin_address());
    tracing::info!(%address, %admin, "listening");
    // Whoever started the bridge may have stopped reading.
    let _ = writeln!(std::io::stdout(), "listening grpc={address} admin={admin}");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("draining");
    bridge.drain().await;
    Ok(())
}

/// Takes as many file descriptors as the system gives: a WebSocket is one, and where they run out no broker is reached either.
fn raise_descriptors(limits: &Limits) {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // What is refused is as it was.
    let _ = setrlimit(Resource::Nofile, limit);
    let needed = limits.max_sessions.saturating_add(limits.max_connections);
    let given = getrlimit(Resource::Nofile).current.and_then(|given| usize::try_from(given).ok());
    if let Some(given) = given.filter(|given| *given < needed) {
        tracing::warn!(
            given,
            needed,
            "limits.max_sessions and limits.max_connections may need more file descriptors"
        );
    }
}

fn signals() -> std::io::Result<(tokio::signal::unix::Signal, tokio::signal::unix::Signal)> {
    Ok((signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?))
}

fn load(path: Option<&Path>) -> Result<(Config, Filter), Vec<Problem>> {
    let whole =
        |error: std::io::Error| Problem { place: Place::Key(String::new()), problem: error.to_string() };
    let text = path.map(std::fs::read_to_string).transpose().map_err(|error| vec![whole(error)])?;
    let config = Config::load(&text.unwrap_or_default(), std::env::vars_os());
    match (config, Filter::from_environment()) {
        (Ok(config), Ok(filter)) => Ok((config, filter)),
        (config, filter) => {
            let problems = config.err().unwrap_or_default();
            Err(problems.into_iter().chain(filter.err()).collect())
        }
    }
}

/// A problem with the file that it is in.
fn line(path: Option<&Path>, problem: &Problem) -> String {
    match (path, &problem.place) {
        (Some(path), Place::Key(_)) => format!("{}: {problem}", path.display()),
        _ => problem.to_string(),
    }
}

fn fail(code: u8, lines: impl Iterator<Item = String>) -> ExitCode {
    let mut stderr = std::io::stderr().lock();
    for line in lines {
        // Nobody may be there to read it; the exit code says it too.
        let _ = writeln!(stderr, "{line}");
    }
    ExitCode::from(code)
}
