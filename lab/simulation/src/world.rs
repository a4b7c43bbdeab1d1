//! All that a schedule acts on, and the problems that were found.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sluicegate_fair_share::ClientKey;
use tokio::io::DuplexStream;
use tokio::time::{Instant, timeout_at};

use crate::bridge::{Bridge, Settings};
use crate::client::Client;
use crate::identity::Identity;
use crate::jetstream::JetStream;
use crate::kafka::Kafka;
use crate::network::Faults;
use crate::{Outcome, Writes};

/// The cluster, the bridges and what was found.
pub(crate) struct World {
    pub(crate) kafka: Kafka,
    /// The servers before its logs, if it is a NATS cluster.
    pub(crate) jetstream: Option<JetStream>,
    pub(crate) faults: Arc<Faults>,
    pub(crate) settings: Settings,
    pub(crate) profile: Profile,
    pub(crate) bridges: Mutex<Vec<Bridge>>,
    /// Whether nothing fails any more, and no client dawdles.
    is_calm: AtomicBool,
    /// Whether nothing fails for a while.
    rests: AtomicBool,
    found: Mutex<Found>,
    start: Instant,
}

/// The kinds of events that a schedule has, besides records, faults of the network and clean elections.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Profile {
    /// Elections that lose committed records.
    pub(crate) is_unclean: bool,
    /// Topics are deleted and created again.
    pub(crate) recreates: bool,
    /// Brokers learn of new leaders late.
    pub(crate) lags: bool,
}

#[derive(Default)]
struct Found {
    problems: Vec<String>,
    /// All events, for those who look into a problem.
    trace: Vec<String>,
    keeps_trace: bool,
    events: u64,
    writes: Writes,
}

impl World {
    pub(crate) fn new(
        kafka: Kafka,
        jetstream: Option<JetStream>,
        faults: Arc<Faults>,
        settings: Settings,
        profile: Profile,
        keeps_trace: bool,
    ) -> Arc<Self> {
        let found = Mutex::new(Found { keeps_trace, ..Found::default() });
        let (bridges, start) = (Mutex::default(), Instant::now());
        Arc::new(Self {
            kafka,
            jetstream,
            faults,
            settings,
            profile,
            bridges,
            is_calm: AtomicBool::new(false),
            rests: AtomicBool::new(false),
            found,
            start,
        })
    }

    /// An answer that comes within `patience`, in which jumps of the clock do not count.
    pub(crate) async fn within<T>(&self, patience: Duration, answer: impl Future<Output = T>) -> Option<T> {
        let mut answer = pin!(answer);
        let (begun, before) = (Instant::now(), self.faults.clock.jumped());
        let by = || begun + patience + self.faults.clock.jumped().saturating_sub(before);
        loop {
            if let Ok(answer) = timeout_at(by(), &mut answer).await {
                return Some(answer);
            }
            if by() <= Instant::now() {
                return None;
            }
        }
    }

    pub(crate) fn is_nats(&self) -> bool {
        self.jetstream.is_some()
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn bridges(&self) -> MutexGuard<'_, Vec<Bridge>> {
        self.bridges.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_calm(&self) -> bool {
        self.is_calm.load(Ordering::Relaxed)
    }

    /// Tells clients whether to dawdle.
    pub(crate) fn set_rests(&self, rests: bool) {
        self.rests.store(rests, Ordering::Relaxed);
    }

    /// Whether no client dawdles, now or any more.
    pub(crate) fn is_quick(&self) -> bool {
        self.is_calm() || self.rests.load(Ordering::Relaxed)
    }

    /// Tells clients that faults are over, and not to dawdle.
    pub(crate) fn calm_down(&self) {
        self.is_calm.store(true, Ordering::Relaxed);
    }

    /// A session of a client with a bridge that `random` chooses; `None` if there is none.
    pub(crate) fn connect(
        &self,
        client: ClientKey,
        identity: Option<&Arc<Identity>>,
        random: &Mutex<fastrand::Rng>,
    ) -> Option<Client> {
        let (stream, received) = self.of_a_bridge(random, |bridge| bridge.connect(client, identity))?;
        Some(Client::new(stream, self.is_nats(), identity.cloned(), received))
    }

    /// A WebSocket with a bridge that `random` chooses; `None` if there is none.
    pub(crate) fn dial(&self, client: ClientKey, random: &Mutex<fastrand::Rng>) -> Option<DuplexStream> {
        self.of_a_bridge(random, |bridge| bridge.websocket(client))
    }

    fn of_a_bridge<T>(&self, random: &Mutex<fastrand::Rng>, of: impl FnOnce(&Bridge) -> T) -> Option<T> {
        let mut random = random.lock().unwrap_or_else(PoisonError::into_inner);
        let bridges = self.bridges();
        bridges.get(random.usize(..bridges.len().max(1))).map(of)
    }

    /// A promise was broken.
    pub(crate) fn broken(&self, problem: String) {
        self.event(|| format!("BROKEN: {problem}"));
        self.found().problems.push(problem);
    }

    /// Something happened. Two runs of a seed have the same events.
    pub(crate) fn event(&self, event: impl FnOnce() -> String) {
        let mut found = self.found();
        found.events += 1;
        if found.keeps_trace {
            found.trace.push(format!("{:>12.6} {}", self.start.elapsed().as_secs_f64(), event()));
        }
    }

    pub(crate) fn has_problems(&self) -> bool {
        !self.found().problems.is_empty()
    }

    /// Counts the records of a producer.
    pub(crate) fn count(&self, writes: Writes) {
        self.found().writes += writes;
    }

    /// The outcome of the schedule.
    pub(crate) fn end(&self) -> Outcome {
        let mut found = self.found();
        let (problems, trace) = (std::mem::take(&mut found.problems), std::mem::take(&mut found.trace));
        Outcome { problems, trace, events: found.events, writes: found.writes }
    }
}
