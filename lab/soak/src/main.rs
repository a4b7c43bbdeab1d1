//! The command line of `./dev soak`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Parser, value_parser};
use sluicegate_soak::{Failure, everything, live, page, say};
use sluicegate_stack::arguments;
use sluicegate_stack::kafka::{self, Kafka};
use sluicegate_stack::process::allow_many_files;
use sluicegate_stack::way::Way;

/// Tries each way in with up to six kinds of clients, whose identities expire: each must get each record in five seconds, and
/// no process may grow. Takes at least 900 seconds
#[derive(Debug, Parser)]
#[command(name = "soak", bin_name = "./dev soak")]
struct Args {
    /// Check live delivery instead: 300 subscribers, while brokers, bridge and Envoy are killed and restarted
    #[arg(long)]
    live: bool,
    /// Watch the memory of the live page in a browser instead, at 1,000 records a second
    #[arg(long, conflicts_with = "live")]
    page: bool,
    /// Write a report to this file, as Markdown
    #[arg(long, conflicts_with_all = ["live", "page"])]
    report: Option<PathBuf>,
    /// Duration, in steps of 300 s unless another check is chosen
    #[arg(long, default_value_t = 1800, value_parser = value_parser!(u64).range(90..))]
    seconds: u64,
}

fn main() -> ExitCode {
    let args: Args = match arguments::parse() {
        Ok(args) => args,
        Err(exit) => return exit,
    };
    let duration = Duration::from_secs(args.seconds);
    let soaked = match args {
        Args { live: true, .. } => check_live(duration),
        Args { page: true, .. } => page::soak(duration),
        Args { report, .. } => everything::soak(duration, report.as_deref()),
    };
    arguments::ended("soak", soaked)
}

#[tokio::main]
async fn check_live(duration: Duration) -> Result<(), Failure> {
    allow_many_files()?;
    let seed = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let properties = live::PROPERTIES.to_owned();
    let brokers = kafka::Setup { nodes: 3, properties, ..kafka::Setup::default() };
    let mut kafka = Kafka::start_with(brokers).await?;
    let setup = live::Setup {
        system: live::System::Kafka(&mut kafka),
        way: Way::Tunnel,
        subscribers: SUBSCRIBERS,
        duration,
        discards: false,
        seed,
    };
    say(&format!("seed {seed}: {:#?}", live::check(setup).await));
    Ok(())
}

/// Of all kinds.
const SUBSCRIBERS: usize = 300;
