//! How fast a topic is read through Envoy, filter and bridge, beside a bare librdkafka consumer in the same run.
//!
//! 1. [`machine`]: where and with what
//! 2. [`walk`]: clients that walk the topic through the gateway, in a process of their own
//! 3. [`consume`]: librdkafka consumers that read it from the broker, in a process of their own
//! 4. [`run`]: one after the other, with what every process used meanwhile
//! 5. [`report`]: the table, and its ratios

mod consume;
mod machine;
mod report;
mod run;
mod walk;

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand, value_parser};
use sluicegate_tests::arguments;
use sluicegate_tests::envoy::Profile;

/// Measures reading through the gateway beside a bare librdkafka consumer
#[derive(Debug, Parser)]
#[command(name = "bench", bin_name = "./dev bench")]
struct Args {
    #[command(flatten)]
    plan: Plan,
    #[command(subcommand)]
    part: Option<Part>,
}

/// What is read, and how.
#[derive(Debug, clap::Args)]
struct Plan {
    /// Records of the topic, all in one partition
    #[arg(long, default_value_t = 200_000, value_parser = value_parser!(u32).range(1..))]
    records: u32,
    /// Bytes of each record's value
    #[arg(long, default_value_t = 100, value_parser = value_parser!(u16).range(1..))]
    size: u16,
    /// Numbers of clients that read at the same time, each the whole topic
    #[arg(long, value_delimiter = ',', default_values_t = [1_u32, 64],
        value_parser = value_parser!(u32).range(1..))]
    clients: Vec<u32>,
    /// Messages to deliver in each measurement, at least: topics are read again until then
    #[arg(long, default_value_t = 6_000_000, value_parser = value_parser!(u64).range(1..))]
    messages: u64,
    /// How Envoy talks to the bridge
    #[arg(long, value_parser = profile, default_value = "tunnel")]
    profile: Profile,
    /// Envoy's worker threads
    #[arg(long, default_value_t = 2, value_parser = value_parser!(u32).range(1..))]
    concurrency: u32,
}

/// What each measured process reads, so that they are alike.
#[derive(Debug, clap::Args)]
struct Reading {
    #[arg(long)]
    topic: String,
    /// Where the log ends.
    #[arg(long)]
    end: i64,
    #[arg(long)]
    clients: u32,
    /// How often each client reads the topic.
    #[arg(long)]
    rounds: u32,
}

/// A measured process; started by the benchmark itself.
#[derive(Debug, Subcommand)]
#[command(hide = true)]
enum Part {
    /// Clients of the gateway
    Walk(walk::Args),
    /// librdkafka consumers
    Consume(consume::Args),
}

fn main() -> ExitCode {
    let Args { plan, part } = match arguments::parse() {
        Ok(args) => args,
        Err(exit) => return exit,
    };
    let done = match part {
        None => run::run(&plan),
        Some(Part::Walk(args)) => walk::run(&args),
        Some(Part::Consume(args)) => consume::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::failed(error.as_ref());
            ExitCode::FAILURE
        }
    }
}

fn profile(name: &str) -> Result<Profile, String> {
    let known = Profile::ALL.into_iter().find(|profile| profile.name() == name);
    known.ok_or_else(|| "expected tunnel or internal".to_owned())
}

/// What any part of this may fail with; the text is all that is done with it.
type Failure = Box<dyn Error + Send + Sync>;
