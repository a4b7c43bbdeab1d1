//! Runs schedules and tells which of them break a promise: `simulate COUNT [SEED] [--trace]`.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use clap::Parser;
use sluicegate_simulation::{Options, Outcome, run};

/// Runs the schedules of COUNT seeds from SEED on.
#[derive(Debug, Parser)]
struct Args {
    count: u64,
    #[arg(default_value_t = 0)]
    seed: u64,
    /// Prints the events: of SEED if COUNT is 1, else of seeds that fail.
    #[arg(long)]
    trace: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let (start, next, failed) = (Instant::now(), AtomicU64::new(0), AtomicU64::new(0));
    let events = AtomicU64::new(0);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= args.count {
                        return;
                    }
                    let seed = args.seed.wrapping_add(number);
                    events.fetch_add(one(seed, &args, &failed), Ordering::Relaxed);
                }
            });
        }
    });
    let (failed, events, took) = (failed.into_inner(), events.into_inner(), start.elapsed());
    let each = took.as_secs_f64() * 1e3 * threads as f64 / args.count.max(1) as f64;
    #[expect(clippy::print_stdout, reason = "the report")]
    {
        println!(
            "{} schedules from seed {} on, {events} events, {failed} failed; {:.1} s, {each:.2} ms of a core each",
            args.count,
            args.seed,
            took.as_secs_f64()
        );
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs a seed and prints what it has broken. Gives the number of its events.
fn one(seed: u64, args: &Args, failed: &AtomicU64) -> u64 {
    let options = Options { keeps_trace: args.trace, ..Options::default() };
    let Outcome { problems, trace, events, .. } = run(seed, options);
    #[expect(clippy::print_stdout, reason = "the report")]
    if !problems.is_empty() || args.count == 1 {
        trace.iter().for_each(|event| println!("{event}"));
    }
    #[expect(clippy::print_stdout, reason = "the report")]
    if !problems.is_empty() {
        failed.fetch_add(1, Ordering::Relaxed);
        println!("seed {seed}: {}", problems.join("; "));
    }
    events
}
