//! Throughput of reads and writes through Envoy, filter and bridge, beside a bare librdkafka in the same run; the
//! memory of idle sessions; what waiting reads cost, and when they see a record; the speed of small questions; and
//! reads of NATS.
//!
//! 1. [`machine`]: the machine and versions
//! 2. [`part`]: clients of the gateway and bare ones, which read or write
//! 3. [`place`]: starts Kafka, gateway and bridge, and measures their CPU
//! 4. [`reading`], [`nats`], [`writing`]: throughput beside bare clients
//! 5. [`idle`], [`members`], [`opening`], [`rows`], [`schemas`]: what sessions, members of groups and deliveries cost; the
//!    last three in [`turns`]
//! 6. [`tables`], [`waiting`], [`commands`]: the newest records of keys, reads at the ends of logs, single commands
//! 7. [`live`]: subscriptions, beside nats-server
//! 8. [`crowd`]: 50,000 sockets, and a bridge that is killed
//! 9. [`report`]: the output; [`figures`]: the values of all runs, saved and compared

mod commands;
mod crowd;
mod figures;
mod idle;
mod live;
mod machine;
mod members;
mod nats;
mod opening;
mod part;
mod place;
mod reading;
mod report;
mod rows;
mod schemas;
mod streams;
mod tables;
mod turns;
mod waiting;
mod writing;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum, value_parser};
use sluicegate_stack::arguments;
use sluicegate_stack::envoy::Profile;

use crate::figures::Figures;

/// Measures reading and writing through the gateway beside a bare librdkafka, and reading of NATS beside async-nats
#[derive(Debug, Parser)]
#[command(name = "bench", bin_name = "./dev bench")]
struct Args {
    #[command(flatten)]
    plan: Plan,
    #[command(subcommand)]
    task: Option<Task>,
}

/// The plan of all measurements.
#[derive(Debug, clap::Args)]
struct Plan {
    /// Measure only this
    #[arg(long, value_enum)]
    only: Option<Only>,
    /// Runs of everything; a comparison needs 5 on both sides
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u32).range(1..))]
    repeat: u32,
    /// Write the figures to this file
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Print the figures beside those of a saved file, and which have changed by more than the runs differ
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
    /// Records in the topic to read, all in one partition; a stream has 1,000,000 at most
    #[arg(long, default_value_t = 3_000_000, value_parser = value_parser!(u32).range(1..))]
    records: u32,
    /// Bytes of each record's value
    #[arg(long, default_value_t = 100, value_parser = value_parser!(u16).range(1..))]
    size: u16,
    /// Numbers of concurrent clients; each reads the whole topic; of a stream 16 at most
    #[arg(long, value_delimiter = ',', default_values_t = [1_u32, 64],
        value_parser = value_parser!(u32).range(1..))]
    clients: Vec<u32>,
    /// Messages to read in each measurement, at least; the topic is read repeatedly
    #[arg(long, default_value_t = 6_000_000, value_parser = value_parser!(u64).range(1..))]
    messages: u64,
    /// Bytes of each value to write
    #[arg(long, value_delimiter = ',', default_values_t = [100_u32, 1024],
        value_parser = value_parser!(u32).range(1..))]
    write_sizes: Vec<u32>,
    /// Seconds of each measurement of writing, and of live delivery at a steady rate
    #[arg(long, default_value_t = 10, value_parser = value_parser!(u32).range(1..))]
    seconds: u32,
    /// The scenarios of live delivery to measure
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = live::Scenario::USUAL)]
    scenarios: Vec<live::Scenario>,
    /// Records a second of live delivery at a steady rate
    #[arg(long, value_delimiter = ',', default_values_t = [20_u32, 60], value_parser = value_parser!(u32).range(1..))]
    rates: Vec<u32>,
    /// Sockets of live delivery as fast as it goes and at a steady rate, of Kafka
    #[arg(long, value_delimiter = ',', default_values_t = [live::SOCKETS], value_parser = value_parser!(u32).range(1..=20_000))]
    live_sockets: Vec<u32>,
    /// Runs of each scenario of live delivery; the result is their median
    #[arg(long, default_value_t = 5, value_parser = value_parser!(u32).range(1..))]
    runs: u32,
    /// Idle sessions whose memory is measured
    #[arg(long, default_value_t = 2000, value_parser = value_parser!(u32).range(1..))]
    sessions: u32,
    /// Sockets of the crowd, which is only measured if it is asked for
    #[arg(long, default_value_t = 50_000, value_parser = value_parser!(u32).range(1..=55_000))]
    sockets: u32,
    /// How Envoy talks to the bridge
    #[arg(long, value_enum, default_value_t = Profile::Tunnel)]
    profile: Profile,
    /// Envoy's worker threads
    #[arg(long, default_value_t = 2, value_parser = value_parser!(u32).range(1..))]
    concurrency: u32,
}

impl Plan {
    /// Number of times that each of so many clients reads a log.
    fn rounds(&self, records: u32, clients: u32) -> u64 {
        self.messages.div_ceil((u64::from(records) * u64::from(clients)).max(1))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Only {
    Reading,
    Writing,
    Idle,
    Members,
    Opening,
    Rows,
    Schemas,
    Streams,
    Tables,
    Waiting,
    Commands,
    Live,
    Nats,
    Crowd,
}

/// The task of a process that the benchmark itself has started, in JSON.
#[derive(Debug, Subcommand)]
#[command(hide = true)]
enum Task {
    /// Clients of the gateway that stay, and come back
    Crowd { json: String },
}

fn main() -> ExitCode {
    let Args { plan, task } = match arguments::parse() {
        Ok(args) => args,
        Err(exit) => return exit,
    };
    let done = match task {
        None => measure(&plan),
        Some(Task::Crowd { json }) => crowd::clients::run(&json),
    };
    arguments::ended("bench", done)
}

#[tokio::main]
async fn measure(plan: &Plan) -> Result<(), Failure> {
    let earlier = plan.compare.as_deref().map(Figures::read).transpose()?;
    let mut figures = Figures::new(machine::describe());
    figures.about.iter().for_each(|line| report::say(line));
    for run in 1..=plan.repeat {
        if plan.repeat > 1 {
            report::say(&format!("\nrun       {run} of {}", plan.repeat));
        }
        measure_once(plan, &mut figures).await?;
        if let Some(path) = &plan.save {
            figures.save(path)?;
        }
    }
    if let Some(earlier) = earlier {
        report::say("");
        figures.beside(&earlier).iter().for_each(|line| report::say(line));
    }
    Ok(())
}

async fn measure_once(plan: &Plan, figures: &mut Figures) -> Result<(), Failure> {
    for only in Only::value_variants() {
        // A crowd takes minutes and gigabytes.
        if plan.only.map_or(*only != Only::Crowd, |asked| asked == *only) {
            match only {
                Only::Reading => reading::run(plan, figures).await?,
                Only::Writing => writing::run(plan, figures).await?,
                Only::Idle => idle::run(plan, figures).await?,
                Only::Members => members::run(plan, figures).await?,
                Only::Opening => opening::run(plan, figures).await?,
                Only::Rows => rows::run(plan, figures).await?,
                Only::Schemas => schemas::run(plan, figures).await?,
                Only::Streams => streams::run(plan, figures).await?,
                Only::Tables => tables::run(plan, figures).await?,
                Only::Waiting => waiting::run(plan, figures).await?,
                Only::Commands => commands::run(plan, figures).await?,
                Only::Live => live::run(plan, figures).await?,
                Only::Nats => {
                    nats::run(plan, figures).await?;
                    live::on_jetstream(plan, figures).await?;
                }
                Only::Crowd => crowd::run(plan, figures).await?,
            }
            figures.say_new();
        }
    }
    Ok(())
}

/// The error of any part; only its text is used.
type Failure = Box<dyn Error + Send + Sync>;
