//! `sluicegate-bridge`: parse, start, wait for a signal, drain, exit.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use sluicegate_bridge::config::{Config, Problem};
use sluicegate_bridge::{Bridge, logging};
use tokio::signal::unix::{SignalKind, signal};

/// Answers Sluicegate's gateways from Kafka.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    /// The configuration, in TOML; SLUICEGATE_… variables override it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Checks the configuration and exits: 0 when it can be used, 2 when it cannot.
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let config = match load(arguments.config.as_deref()) {
        Ok(config) => config,
        Err(problems) => {
            return fail(2, problems.iter().map(Problem::to_string));
        }
    };
    if arguments.check {
        return ExitCode::SUCCESS;
    }
    let filter = std::env::var("RUST_LOG").ok();
    if let Err(error) = logging::start(config.log_format, filter.as_deref()) {
        return fail(2, std::iter::once(format!("RUST_LOG: {error}")));
    }
    match run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(1, std::iter::once(format!("failed to {error}"))),
    }
}

#[tokio::main]
async fn run(config: Config) -> Result<(), String> {
    if !config.ignored_variables.is_empty() {
        tracing::warn!(variables = ?config.ignored_variables, "not keys of this configuration, ignored");
    }
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

fn signals() -> std::io::Result<(tokio::signal::unix::Signal, tokio::signal::unix::Signal)> {
    Ok((signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?))
}

fn load(path: Option<&Path>) -> Result<Config, Vec<Problem>> {
    let text = match path {
        None => String::new(),
        Some(path) => std::fs::read_to_string(path)
            .map_err(|error| vec![Problem { key: path.display().to_string(), problem: error.to_string() }])?,
    };
    Config::load(&text, std::env::vars_os())
}

fn fail(code: u8, lines: impl Iterator<Item = String>) -> ExitCode {
    let mut stderr = std::io::stderr().lock();
    for line in lines {
        // Nobody may be there to read it; the exit code says it too.
        let _ = writeln!(stderr, "{line}");
    }
    ExitCode::from(code)
}
