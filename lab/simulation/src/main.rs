//! Runs schedules and tells which of them break a promise: `simulate COUNT [SEED] [--trace]`.

// Without the flag, a seed does not repeat its run: see the justfile.
#[cfg(test)]
#[cfg(tokio_unstable)]
mod seeds;

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use clap::Parser;
use sluicegate_simulation::{Options, cores, run, run_all, shrink};

/// A schedule allocates all that a bridge does.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs the schedules of COUNT seeds from SEED on.
#[derive(Debug, Parser)]
struct Args {
    count: u64,
    #[arg(default_value_t = 0)]
    seed: u64,
    /// Prints the events: of SEED if COUNT is 1, else of the first seeds that fail, with as few steps as make them fail.
    #[arg(long)]
    trace: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let (start, failed, events) = (Instant::now(), AtomicU64::new(0), AtomicU64::new(0));
    let options = Options { keeps_trace: args.trace, ..Options::default() };
    run_all((args.seed..).take(args.count.try_into().unwrap_or(usize::MAX)), options, |seed, outcome| {
        events.fetch_add(outcome.events, Ordering::Relaxed);
        if outcome.problems.is_empty() {
            if args.count == 1 {
                outcome.trace.iter().for_each(|event| say(event));
            }
            return;
        }
        say(&format!("seed {seed}: {}", outcome.problems.join("; ")));
        if failed.fetch_add(1, Ordering::Relaxed) >= SHRUNK {
            return;
        }
        let steps = shrink(seed);
        let Some(fewest) = steps else {
            outcome.trace.iter().for_each(|event| say(event));
            say(&format!("seed {seed} has not failed again"));
            return;
        };
        let shortest = run(seed, Options { steps, ..options });
        shortest.trace.iter().for_each(|event| say(event));
        say(&format!("seed {seed}, ended after {fewest} steps: {}", shortest.problems.join("; ")));
    });
    let (failed, events, took) = (failed.into_inner(), events.into_inner(), start.elapsed());
    let each = took.as_secs_f64() * 1e3 * cores() as f64 / args.count.max(1) as f64;
    say(&format!(
        "{} schedules from seed {} on, {events} events, {failed} failed; {:.1} s, {each:.2} ms of a core each",
        args.count,
        args.seed,
        took.as_secs_f64()
    ));
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Failing seeds whose fewest steps are looked for: that takes as long as some dozens of others.
const SHRUNK: u64 = 3;

/// Prints a line, as long as somebody reads.
fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}
