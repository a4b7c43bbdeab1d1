//! 500 sockets through Envoy, filter and bridge, which use and abandon them in different ways, and the memory,
//! descriptors and threads of Envoy and bridge meanwhile.
//!
//! 1. [`clients`]: what the sockets do
//! 2. [`figures`]: what the processes use, as a table
//! 3. [`growth`]: what must not grow
//! 4. [`page`]: the live page's memory, with `--page`
//! 5. [`everything`]: many ways in and kinds of clients for hours, with `--everything`

mod clients;
mod everything;
mod figures;
mod growth;
mod page;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Parser, value_parser};
use sluicegate_soak::live;
use sluicegate_stack::arguments;
use sluicegate_stack::envoy::Profile;
use sluicegate_stack::kafka::{Kafka, Record, Write};
use sluicegate_stack::process::allow_many_files;
use sluicegate_stack::stack::{Setup, Stack};
use sluicegate_stack::way::Way;
use tokio::time::{Instant, sleep, timeout};

use crate::clients::Clients;
use crate::figures::{Figures, complain, heading, say};

/// Watches memory, descriptors and threads of Envoy and bridge while 500 sockets read, idle, vanish and get stuck
#[derive(Debug, Parser)]
#[command(name = "soak", bin_name = "./dev soak")]
struct Args {
    /// Check live delivery instead: 300 subscribers, while brokers, bridge and Envoy are killed and restarted
    #[arg(long)]
    live: bool,
    /// Watch the memory of the live page in a browser instead, at 1,000 records a second
    #[arg(long, conflicts_with = "live")]
    page: bool,
    /// Try each way in with up to six kinds of clients instead, whose identities expire: each must get each record in five seconds.
    /// At least 900 seconds
    #[arg(long, conflicts_with_all = ["live", "page"])]
    everything: bool,
    /// Write the report of `--everything` to this file, as Markdown
    #[arg(long, requires = "everything")]
    report: Option<PathBuf>,
    /// Duration, in steps of 30 s, or of 300 s with `--everything`
    #[arg(long, default_value_t = 600, value_parser = value_parser!(u64).range(90..))]
    seconds: u64,
}

fn main() -> ExitCode {
    let args: Args = match arguments::parse() {
        Ok(args) => args,
        Err(exit) => return exit,
    };
    let soaked = match args {
        Args { live: true, .. } => check_live(&args),
        Args { page: true, .. } => page::soak(args.seconds),
        Args { everything: true, ref report, .. } => {
            everything::soak(Duration::from_secs(args.seconds), report.as_deref())
        }
        _ => soak(&args),
    };
    match soaked {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(error.as_ref());
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn soak(args: &Args) -> Result<(), Failure> {
    allow_many_files()?;
    let kafka = Kafka::start().await?;
    let topic = kafka.topic("soak", 1, &[]).await?;
    write(&kafka, &topic).await?;
    let mut stack = Stack::start(Setup::new(Profile::Tunnel, kafka.bootstrap())).await?;
    stack.ready_within(Duration::from_secs(30)).await?;
    let before = Figures::of(&stack)?;

    heading();
    before.print(0, 0);
    let mut clients = Clients::start(&stack, &topic);
    let start = Instant::now();
    let mut windows = Vec::new();
    for window in 1..=args.seconds.div_ceil(WINDOW.as_secs()) {
        let seconds = window * WINDOW.as_secs();
        let mut samples = Vec::new();
        while start.elapsed() < Duration::from_secs(seconds) {
            samples.push(Figures::of(&stack)?);
            if let Ok(failure) = timeout(SAMPLE, clients.failed()).await {
                return Err(failure);
            }
        }
        let mean = Figures::mean(&samples).ok_or("a window without a sample")?;
        mean.print(seconds, clients.messages());
        windows.push(mean);
    }
    growth::of_memory(&windows)?;

    clients.leave().await;
    let deadline = Instant::now() + LEFT_WITHIN;
    loop {
        let after = Figures::of(&stack)?;
        match growth::since(before, after) {
            Ok(()) => break say(&format!("all sockets have left: {after}")),
            Err(grown) if Instant::now() >= deadline => return Err(grown),
            Err(_) => sleep(SAMPLE).await,
        }
    }
    Ok(())
}

#[tokio::main]
async fn check_live(args: &Args) -> Result<(), Failure> {
    allow_many_files()?;
    let seed = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let duration = Duration::from_secs(args.seconds);
    let setup = live::Setup {
        system: live::System::Kafka,
        way: Way::Tunnel,
        subscribers: SUBSCRIBERS,
        duration,
        discards: false,
        seed,
    };
    say(&format!("seed {seed}: {}", live::check(setup).await));
    Ok(())
}

/// More than the bridge keeps in memory: `read.cache_bytes`.
async fn write(kafka: &Kafka, topic: &str) -> Result<(), Failure> {
    let records = vec![Record::of(vec![b'x'; VALUE]); RECORDS_AT_ONCE];
    for _ in 0..clients::RECORDS.div_euclid(i64::try_from(RECORDS_AT_ONCE)?) {
        kafka.produce(topic, 0, &records, Write::default()).await?;
    }
    Ok(())
}

/// Bytes.
const VALUE: usize = 1_000;
const RECORDS_AT_ONCE: usize = 10_000;
/// Of all kinds.
const SUBSCRIBERS: usize = 300;
/// Time that a row of the table stands for.
const WINDOW: Duration = Duration::from_secs(30);
const SAMPLE: Duration = Duration::from_secs(1);
/// Idle threads of the bridge end after ten seconds.
const LEFT_WITHIN: Duration = Duration::from_secs(60);

/// The error of any part; only its text is used.
type Failure = Box<dyn Error + Send + Sync>;
