//! The schedules of the first seeds, and that a seed repeats its run.

// Without it, a seed does not repeat its run: see `just _simulation`.
#![cfg(tokio_unstable)]

use std::sync::Mutex;

use sluicegate_simulation::{Options, Writes, run, run_all};

/// Seeds of a run of the tests. More are run elsewhere: see `just simulate`.
const SEEDS: u64 = 1_000;

/// Later seeds that find a fault again where its mending is undone.
const FOUND: [u64; 10] =
    [5_630, 6_977, 126_962, 230_027, 311_262, 326_999, 444_125, 459_933, 561_241, 769_230];

#[test]
fn clients_get_what_they_are_promised_in_a_thousand_schedules() {
    let (failed, writes) = (Mutex::new(Vec::new()), Mutex::new(Writes::default()));
    run_all(0, SEEDS, Options::default(), |seed, outcome| {
        *writes.lock().expect("no panic") += outcome.writes;
        let problems = outcome.problems.into_iter().map(|problem| format!("seed {seed}: {problem}"));
        failed.lock().expect("no panic").extend(problems);
    });
    let mut failed = failed.into_inner().expect("no panic");
    for seed in FOUND {
        let problems = run(seed, Options::default()).problems;
        failed.extend(problems.into_iter().map(|problem| format!("seed {seed}: {problem}")));
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    // Each outcome of a write must come about, or nothing was tried.
    let writes = writes.into_inner().expect("no panic");
    let Writes { acknowledged, without_offset, refused, unknown_and_there, unknown_and_not_there } = writes;
    let all = [acknowledged, without_offset, refused, unknown_and_there, unknown_and_not_there];
    assert!(all.iter().all(|count| *count > 0), "{writes:?}");
}

#[test]
fn seed_repeats_a_run_exactly() {
    for seed in (0..40).chain(FOUND) {
        let options = Options { keeps_trace: true, ..Options::default() };
        let [first, second] = [run(seed, options), run(seed, options)];
        let differs = first.trace.iter().zip(&second.trace).find(|(one, other)| one != other);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!(first.events, second.events, "seed {seed}");
    }
}
