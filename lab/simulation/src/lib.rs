//! Simulates clients, bridges, a network and a cluster of Kafka or NATS in one thread, in virtual time. A seed
//! decides what happens, and repeats a run exactly.
//!
//! As they ship: sessions, the door, delivery, the shared log, the readers of both systems, the writer of NATS.
//! Simulated: the network, servers with state, what librdkafka does, and clients, which hold each answer against what
//! the log has.
//!
//! - here: [`run`], one schedule; [`run_all`], many; [`shrink`], the shortest one that fails
//! - `schedule`: what happens, and when
//! - `kafka`, `network`: brokers, and the streams to them; `jetstream`: NATS servers
//! - `registry`: schemas of values
//! - `bridge`, `client`: a bridge, and a connection to it, on any way
//! - `identity`: the rights of a client, which change and end; `quota`: what a client may get in a time
//! - `subscriber`, `walker`, `table_client`, `producer`, `repeater`: clients; `history`: what one has read, held against the log
//! - `world`: what they share

#![expect(clippy::indexing_slicing, reason = "the simulation is a test: it fails loudly")]

mod bridge;
mod client;
mod history;
mod identity;
mod jetstream;
mod kafka;
mod network;
mod producer;
mod quota;
mod registry;
mod repeater;
mod schedule;
mod subscriber;
mod table_client;
mod walker;
mod world;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::panic;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::thread;
use std::time::Duration;

/// The length of a schedule, and whether its events are kept.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Steps of a schedule at most. Shorter ones begin alike. `None`: as many as it has.
    pub steps: Option<usize>,
    /// Whether the events are kept as text.
    pub keeps_trace: bool,
}

/// The outcome of a schedule.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Promises that were broken.
    pub problems: Vec<String>,
    /// The events with their times, if they were kept.
    pub trace: Vec<String>,
    /// Events.
    pub events: u64,
    /// What became of records that clients have written.
    pub writes: BTreeSet<Written>,
}

/// What a client was told of a record, and whether the log has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Written {
    /// It was acknowledged.
    Acknowledged,
    /// The same, without its offset.
    WithoutOffset,
    /// It is not there, as the client knows.
    Refused,
    /// It is there, and the client does not know.
    UnknownAndThere,
    /// It is not there, and the client does not know.
    UnknownAndNotThere,
    /// It was repeated until the client knew that it is there.
    Once,
}

/// Runs the schedule of a seed, in a thread of its own. Panics of the code under test are problems, and so is a schedule
/// without an end.
pub fn run(seed: u64, options: Options) -> Outcome {
    let (ended, end) = mpsc::channel();
    let thread = thread::spawn(move || drop(ended.send(run_here(seed, options))));
    let failed = |problem| Outcome { problems: vec![problem], ..Outcome::default() };
    match end.recv_timeout(LONGEST) {
        Ok(outcome) => outcome,
        Err(RecvTimeoutError::Timeout) => failed(format!("no end after {LONGEST:?}")),
        Err(RecvTimeoutError::Disconnected) => {
            let panic = thread.join().err();
            let text = panic.as_ref().and_then(|panic| panic.downcast_ref::<String>());
            failed(format!("the simulation panicked: {}", text.map_or("", String::as_str)))
        }
    }
}

/// The fewest steps after which the schedule of a seed fails; `None` if it does not.
pub fn shrink(seed: u64) -> Option<usize> {
    (0..=schedule::MAX_STEPS).find(|steps| {
        let options = Options { steps: Some(*steps), keeps_trace: false };
        !run(seed, options).problems.is_empty()
    })
}

/// Runs the schedules of seeds, on all cores, and gives each outcome to `each`.
pub fn run_all(
    seeds: impl Iterator<Item = u64> + Send,
    options: Options,
    each: impl Fn(u64, Outcome) + Sync,
) {
    let seeds = Mutex::new(seeds);
    let next = || seeds.lock().unwrap_or_else(PoisonError::into_inner).next();
    thread::scope(|scope| {
        for _ in 0..cores() {
            scope.spawn(|| {
                while let Some(seed) = next() {
                    each(seed, run(seed, options));
                }
            });
        }
    });
}

/// The schedules that [`run_all`] runs at a time.
pub fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

fn run_here(seed: u64, options: Options) -> Outcome {
    NOTICE_PANICS.call_once(notice_panics);
    fastrand::seed(seed);
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let panics = Panics::default();
    PANICS.set(Some(panics.clone()));
    let of_thread = panics.clone();
    runtime.on_thread_start(move || PANICS.set(Some(of_thread.clone())));
    runtime.enable_time().start_paused(true).max_blocking_threads(1);
    #[cfg(tokio_unstable)]
    runtime.rng_seed(tokio::runtime::RngSeed::from_bytes(&seed.to_le_bytes()));
    #[expect(clippy::expect_used, reason = "without a runtime there is no simulation")]
    let world = runtime.build().expect("a runtime").block_on(schedule::run(seed, options));
    let mut outcome = std::mem::take(&mut *world.outcome.lock());
    outcome.problems.append(&mut panics.lock().unwrap_or_else(PoisonError::into_inner));
    outcome
}

/// A schedule takes some milliseconds, and seconds where the machine does much else.
const LONGEST: Duration = Duration::from_secs(180);

/// Tells panics of tasks, too, which a runtime only reports to those who wait for the task.
fn notice_panics() {
    let otherwise = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        let is_noticed = PANICS.with_borrow(|panics| {
            let all = panics.as_ref()?;
            all.lock().unwrap_or_else(PoisonError::into_inner).push(panic.to_string());
            Some(())
        });
        if is_noticed.is_none() {
            otherwise(panic);
        }
    }));
}

type Panics = Arc<Mutex<Vec<String>>>;

static NOTICE_PANICS: Once = Once::new();

thread_local! {
    /// Panics of the schedule to which this thread belongs.
    static PANICS: RefCell<Option<Panics>> = const { RefCell::new(None) };
}
