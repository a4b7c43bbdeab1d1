//! `sluicegate-bridge`: parses, starts, waits for a signal, drains, exits. With `--check`, it stops after the first
//! step.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use rustix::process::{Resource, getrlimit, setrlimit};
use sluicegate_bridge::Bridge;
use sluicegate_bridge::config::{Config, Limits, LogFormat, Place, Problem, Source};
use sluicegate_bridge::logging::{self, Filter, Log};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{JoinError, spawn_blocking};

/// In musl's own allocator threads wait for each other.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Serves Kafka and NATS to Sluicegate's gateways.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    /// Configuration file, in TOML; SLUICEGATE_… environment variables override it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Check the configuration and RUST_LOG, then exit: 0 if both are valid, 2 if not.
    #[arg(long)]
    check: bool,
    /// With --check: connect to every cluster and schema registry once, for at most 15 seconds, and say what answers.
    /// Exits with 1 if one does not.
    #[arg(long, requires = "check")]
    connect: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut source = Source::new(arguments.config);
    let (config, filter) = match load(&mut source) {
        Ok(loaded) => loaded,
        Err(problems) => return fail(2, problems.iter().map(|problem| line(&source, problem))),
    };
    if arguments.check {
        let ignored = config.ignored_variables.iter().map(|variable| format!("{variable}: {IGNORED}"));
        let warnings = config.warnings.iter().map(Problem::to_string);
        print_problems(ignored.chain(config.deprecations.iter().cloned()).chain(warnings));
        return if arguments.connect { connect(&source, &config) } else { ExitCode::SUCCESS };
    }
    let log = match logging::start(config.log_format, filter) {
        Ok(log) => log,
        Err(error) => return fail(1, std::iter::once(format!("failed to start logging: {error}"))),
    };
    let format = config.log_format;
    match run(source, config, &log) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let error = format!("failed to {error}");
            match format {
                LogFormat::Text => return fail(1, std::iter::once(error)),
                LogFormat::Json => logging::stopped(&error),
            }
            ExitCode::FAILURE
        }
    }
}

/// Says for each cluster, each schema registry and each URL of keys whether it answers.
fn connect(source: &Source, config: &Config) -> ExitCode {
    let runtime = match Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, std::iter::once(format!("failed to start threads: {error}"))),
    };
    let mut failed = Vec::new();
    for (key, result) in runtime.block_on(sluicegate_bridge::connect(config, CONNECT_TIMEOUT)) {
        match result {
            // Standard output can be closed; the exit code still tells the result.
            Ok(answered) => _ = writeln!(std::io::stdout(), "{key}: {answered}"),
            Err(problem) => failed.push(line(source, &problem)),
        }
    }
    // Name lookups can block.
    runtime.shutdown_background();
    if failed.is_empty() { ExitCode::SUCCESS } else { fail(1, failed.into_iter()) }
}

fn run(source: Source, config: Config, log: &Log) -> Result<(), String> {
    let runtime = Runtime::new().map_err(|error| format!("start threads: {error}"))?;
    let served = runtime.block_on(serve(source, config, log));
    // The drain timeout is over: threads that still block, such as a closing producer's, are not waited for.
    runtime.shutdown_background();
    served
}

async fn serve(mut source: Source, config: Config, log: &Log) -> Result<(), String> {
    if !config.ignored_variables.is_empty() {
        let variables = &config.ignored_variables;
        tracing::warn!(?variables, event = "variables_ignored", "unknown configuration variables ignored");
    }
    raise_descriptors();
    warn_of_mistakes(&config);
    warn_of_few_descriptors(&config.limits);
    let [mut terminate, mut interrupt, mut hangup] =
        signals().map_err(|error| format!("listen for signals: {error}"))?;
    let bridge = Bridge::start(config).await.map_err(|error| format!("{error}: {}", error.source))?;
    let (address, admin) = (bridge.address(), bridge.admin_address());
    tracing::info!(%address, %admin, event = "listening", "listening");
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => {}
            () = source.changed() => {}
        }
        let reloaded = async {
            let (source, loaded) = reload(source).await.map_err(|error| format!("reload: {error}"))?;
            let loaded = loaded.map(|(config, filter)| {
                log.set(filter);
                warn_of_mistakes(&config);
                warn_of_few_descriptors(&config.limits);
                config
            });
            bridge.reload(loaded).await;
            Ok::<_, String>(source)
        };
        tokio::select! {
            reloaded = reloaded => source = reloaded?,
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    tracing::info!(event = "draining", "draining");
    bridge.drain().await;
    Ok(())
}

fn warn_of_mistakes(config: &Config) {
    for deprecation in &config.deprecations {
        tracing::warn!(event = "key_deprecated", "{deprecation}");
    }
    for warning in &config.warnings {
        tracing::warn!(event = "entries_skipped", "{warning}");
    }
}

/// Raises the file descriptor limit to its maximum. Every WebSocket takes one, and without a free one the bridge cannot
/// connect to brokers either.
fn raise_descriptors() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // If the system refuses, the limit stays as it was.
    let _ = setrlimit(Resource::Nofile, limit);
}

fn warn_of_few_descriptors(limits: &Limits) {
    let needed = limits.max_sessions.saturating_add(limits.max_connections);
    let given = getrlimit(Resource::Nofile).current.and_then(|given| usize::try_from(given).ok());
    if let Some(given) = given.filter(|given| *given < needed) {
        tracing::warn!(
            given,
            needed,
            event = "few_file_descriptors",
            "too few file descriptors for limits.max_sessions and limits.max_connections: raise the limit (ulimit -n)"
        );
    }
}

fn signals() -> std::io::Result<[Signal; 3]> {
    Ok([signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?, signal(SignalKind::hangup())?])
}

/// Reads files, which blocks, on another thread.
async fn reload(mut source: Source) -> Result<(Source, Loaded), JoinError> {
    spawn_blocking(move || {
        let loaded = load(&mut source);
        (source, loaded)
    })
    .await
}

/// A configuration with the lines to log, or what is wrong with them.
type Loaded = Result<(Config, Filter), Vec<Problem>>;

fn load(source: &mut Source) -> Loaded {
    match source.load() {
        Ok(config) => match Filter::of(&config) {
            Ok(filter) => Ok((config, filter)),
            Err(problem) => Err(vec![problem]),
        },
        Err(problems) => Err(problems.into_iter().chain(Filter::from_environment().err()).collect()),
    }
}

/// A problem, with its file if it is in one.
fn line(source: &Source, problem: &Problem) -> String {
    match (source.path(), &problem.place) {
        (Some(path), Place::Key(_)) => format!("{}: {problem}", path.display()),
        _ => problem.to_string(),
    }
}

fn fail(code: u8, lines: impl Iterator<Item = String>) -> ExitCode {
    print_problems(lines);
    ExitCode::from(code)
}

fn print_problems(lines: impl Iterator<Item = String>) {
    let mut stderr = std::io::stderr().lock();
    for line in lines {
        // Standard error can be closed; the exit code still reports failures.
        let _ = writeln!(stderr, "{line}");
    }
}

/// For the answers of all clusters.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
const IGNORED: &str = "is not a key of this configuration, ignored";
