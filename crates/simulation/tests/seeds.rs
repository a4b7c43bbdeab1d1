//! The schedules of the first seeds, and that a seed repeats its run.

// Without it, a seed does not repeat its run: see `just _simulation`.
#![cfg(tokio_unstable)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use sluicegate_simulation::{Options, Outcome, run};

/// Seeds of a run of the tests. More are run elsewhere: see `just simulate`.
const SEEDS: u64 = 1_000;

#[test]
fn clients_get_what_they_are_promised_in_a_thousand_schedules() {
    let next = AtomicU64::new(0);
    let failed = thread::scope(|scope| {
        let threads: Vec<_> = (0..thread::available_parallelism().map_or(1, usize::from))
            .map(|_| {
                scope.spawn(|| {
                    let mut failed = Vec::new();
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= SEEDS {
                            return failed;
                        }
                        let Outcome { problems, .. } = run(seed, Options::default());
                        failed.extend(problems.into_iter().map(|problem| format!("seed {seed}: {problem}")));
                    }
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a report")).collect::<Vec<_>>()
    });
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn seed_repeats_a_run_exactly() {
    for seed in 0..40 {
        let options = Options { keeps_trace: true, ..Options::default() };
        let [first, second] = [run(seed, options), run(seed, options)];
        let differs = first.trace.iter().zip(&second.trace).find(|(one, other)| one != other);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!((first.events, first.hash), (second.events, second.hash), "seed {seed}");
    }
}
