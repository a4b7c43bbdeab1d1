//! Throughput of reads and writes through Envoy, filter and bridge, beside a bare librdkafka in the same run; the
//! memory of idle sessions; what waiting reads cost, and when they see a record; the speed of small questions; and
//! reads of NATS.
//!
//! 1. [`machine`]: the machine and versions
//! 2. [`reading`]: clients that [`walk`] a topic through the gateway, beside librdkafka consumers ([`consume`])
//! 3. [`writing`]: clients that [`produce`] or [`post`] through it, beside a librdkafka producer ([`direct`])
//! 4. [`run`]: runs each of these in its own process, and measures the CPU of all processes
//! 5. [`idle`]: the memory of sessions that wait for their client
//! 6. [`opening`]: what it costs to open a session, with an identity and without
//! 7. [`waiting`]: many reads that wait at the ends of many partitions
//! 8. [`commands`]: single commands, many at a time, and the latency of a small fetch
//! 9. [`live`]: subscriptions, beside nats-server
//! 10. [`tables`]: the newest records of keys, which clients [`hold`]
//! 11. [`nats`]: clients that [`walk`] a JetStream stream, beside async-nats clients ([`pull`]); and its live delivery
//! 12. [`crowd`]: 50,000 sockets, and a bridge that is killed
//! 13. [`report`]: the tables, and their ratios
//! 14. [`figures`]: the values of all runs, saved and compared

mod commands;
mod consume;
mod crowd;
mod direct;
mod figures;
mod hold;
mod idle;
mod live;
mod machine;
mod nats;
mod opening;
mod post;
mod produce;
mod pull;
mod reading;
mod report;
mod rows;
mod run;
mod tables;
mod waiting;
mod walk;
mod writing;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

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
    part: Option<Part>,
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
    /// Records that a session writes with one command
    #[arg(long, default_value_t = 100, value_parser = value_parser!(u32).range(1..=1000))]
    batch: u32,
    /// Seconds of each measurement of writing, and of live delivery at a steady rate
    #[arg(long, default_value_t = 10, value_parser = value_parser!(u32).range(1..))]
    seconds: u32,
    /// A property of both producers, the bridge's and the bare one; may be repeated
    #[arg(long = "property", value_name = "NAME=VALUE", value_parser = property)]
    properties: Vec<(String, String)>,
    /// The scenarios of live delivery to measure
    #[arg(long, value_delimiter = ',', default_values_t = live::Scenario::USUAL)]
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
    /// Bridges behind Envoy that share the sockets of live delivery, in the profile `tunnel`
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u32).range(1..=16))]
    bridges: u32,
    /// Idle sessions whose memory is measured
    #[arg(long, default_value_t = 2000, value_parser = value_parser!(u32).range(1..))]
    sessions: u32,
    /// Sockets of the crowd, which is only measured if it is asked for
    #[arg(long, default_value_t = 50_000, value_parser = value_parser!(u32).range(1..=55_000))]
    sockets: u32,
    /// How Envoy talks to the bridge
    #[arg(long, value_parser = profile, default_value = "tunnel")]
    profile: Profile,
    /// Envoy's worker threads
    #[arg(long, default_value_t = 2, value_parser = value_parser!(u32).range(1..))]
    concurrency: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Only {
    Reading,
    Writing,
    Idle,
    Opening,
    Rows,
    Tables,
    Waiting,
    Commands,
    Live,
    Nats,
    Crowd,
}

/// The log that all measured processes read.
#[derive(Debug, clap::Args)]
struct Reading {
    /// A topic with one partition, or a stream.
    #[arg(long)]
    topic: String,
    /// The end of the log.
    #[arg(long)]
    end: i64,
    #[arg(long)]
    clients: u32,
    /// Number of times that each client reads the log.
    #[arg(long)]
    rounds: u32,
}

/// The records that all measured processes write.
#[derive(Debug, clap::Args)]
struct Writing {
    #[arg(long)]
    topic: String,
    /// Bytes of a value.
    #[arg(long)]
    size: u32,
    #[arg(long)]
    clients: u32,
    #[arg(long)]
    seconds: u32,
}

/// Sizes of a client's writes.
#[derive(Debug, clap::Args)]
struct Requests {
    /// Records in each request.
    #[arg(long)]
    batch: usize,
    /// Requests that each client keeps in flight.
    #[arg(long)]
    in_flight: usize,
}

impl Writing {
    fn value(&self) -> Vec<u8> {
        vec![b'x'; self.size as usize]
    }

    /// Writes that begin within this time are measured.
    fn time(&self) -> Duration {
        Duration::from_secs(self.seconds.into())
    }
}

/// A measured process; started by the benchmark itself.
#[derive(Debug, Subcommand)]
#[command(hide = true)]
enum Part {
    /// Clients of the gateway that read
    Walk(walk::Args),
    /// librdkafka consumers
    Consume(consume::Args),
    /// Clients of the gateway that take a table
    Hold(hold::Args),
    /// Clients of the gateway that stay, and come back
    Crowd(crowd::clients::Args),
    /// async-nats clients that read
    Pull(pull::Args),
    /// Clients of the gateway that write over sessions
    Produce(produce::Args),
    /// Clients of the gateway that write by plain HTTP
    Post(post::Args),
    /// A librdkafka producer with a full queue
    Stream(direct::Args),
    /// A librdkafka producer with as many records in flight as the clients
    Wait(direct::WaitArgs),
}

fn main() -> ExitCode {
    let Args { plan, part } = match arguments::parse() {
        Ok(args) => args,
        Err(exit) => return exit,
    };
    let done = match part {
        None => measure(&plan),
        Some(Part::Walk(args)) => walk::run(&args),
        Some(Part::Consume(args)) => consume::run(&args),
        Some(Part::Hold(args)) => hold::run(&args),
        Some(Part::Crowd(args)) => crowd::clients::run(args),
        Some(Part::Pull(args)) => pull::run(&args),
        Some(Part::Produce(args)) => produce::run(&args),
        Some(Part::Post(args)) => post::run(&args),
        Some(Part::Stream(args)) => direct::stream(&args),
        Some(Part::Wait(args)) => direct::wait(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::failed(error.as_ref());
            ExitCode::FAILURE
        }
    }
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
    let measures = |part| plan.only.is_none_or(|only| only == part);
    if measures(Only::Reading) {
        reading::run(plan, figures).await?;
    }
    if measures(Only::Writing) {
        writing::run(plan, figures).await?;
    }
    if measures(Only::Idle) {
        idle::run(plan, figures).await?;
    }
    if measures(Only::Opening) {
        opening::run(plan, figures).await?;
    }
    if measures(Only::Rows) {
        rows::run(plan, figures).await?;
    }
    if measures(Only::Tables) {
        tables::run(plan, figures).await?;
    }
    if measures(Only::Waiting) {
        waiting::run(plan, figures).await?;
    }
    if measures(Only::Commands) {
        commands::run(plan, figures).await?;
    }
    if measures(Only::Live) {
        live::run(plan, figures).await?;
    }
    if measures(Only::Nats) {
        nats::run(plan, figures).await?;
        live::on_jetstream(plan, figures).await?;
    }
    // It takes minutes and gigabytes.
    if plan.only == Some(Only::Crowd) {
        crowd::run(plan, figures).await?;
    }
    Ok(())
}

fn property(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn profile(name: &str) -> Result<Profile, String> {
    let known = Profile::ALL.into_iter().find(|profile| profile.name() == name);
    known.ok_or_else(|| "expected tunnel or relay".to_owned())
}

/// The error of any part; only its text is used.
type Failure = Box<dyn Error + Send + Sync>;
