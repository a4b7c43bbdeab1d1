//! All that a schedule acts on, and the problems that were found.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::time::{Instant, timeout_at};

use crate::Outcome;
use crate::bridge::{Bridge, Settings};
use crate::jetstream::JetStream;
use crate::kafka::Kafka;
use crate::network::Faults;
use crate::registry::SchemaRegistry;

/// The cluster, the bridges and what was found.
pub(crate) struct World {
    pub(crate) kafka: Kafka,
    /// The servers before its logs, if it is a NATS cluster.
    pub(crate) jetstream: Option<JetStream>,
    /// `None`: values have no schemas.
    pub(crate) registry: Option<SchemaRegistry>,
    pub(crate) faults: Arc<Faults>,
    pub(crate) settings: Settings,
    pub(crate) profile: Profile,
    pub(crate) bridges: Mutex<Vec<Bridge>>,
    /// Whether nothing fails any more, and no client dawdles.
    pub(crate) is_calm: AtomicBool,
    /// Whether nothing fails for a while.
    pub(crate) rests: AtomicBool,
    /// The outcome so far.
    pub(crate) outcome: Mutex<Outcome>,
    pub(crate) keeps_trace: bool,
    pub(crate) start: Instant,
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

impl World {
    pub(crate) fn is_nats(&self) -> bool {
        self.jetstream.is_some()
    }

    pub(crate) fn is_calm(&self) -> bool {
        self.is_calm.load(Ordering::Relaxed)
    }

    /// Whether no client dawdles, now or any more.
    pub(crate) fn is_quick(&self) -> bool {
        self.is_calm() || self.rests.load(Ordering::Relaxed)
    }

    /// Something of a bridge that `random` chooses; `None` if there is none.
    pub(crate) fn of_a_bridge<T>(
        &self,
        random: &Mutex<fastrand::Rng>,
        of: impl FnOnce(&Bridge) -> T,
    ) -> Option<T> {
        let bridges = self.bridges.lock();
        let number = random.lock().usize(..bridges.len().max(1));
        bridges.get(number).map(of)
    }

    /// A promise was broken.
    pub(crate) fn broken(&self, problem: String) {
        self.event(|| format!("BROKEN: {problem}"));
        self.outcome.lock().problems.push(problem);
    }

    /// Something happened. Two runs of a seed have the same events.
    pub(crate) fn event(&self, event: impl FnOnce() -> String) {
        let mut outcome = self.outcome.lock();
        outcome.events += 1;
        if self.keeps_trace {
            outcome.trace.push(format!("{:>12.6} {}", self.start.elapsed().as_secs_f64(), event()));
        }
    }

    pub(crate) fn has_problems(&self) -> bool {
        !self.outcome.lock().problems.is_empty()
    }
}

/// An output that is there by a time, which can change meanwhile.
pub(crate) async fn until<T>(by: impl Fn() -> Instant, output: impl Future<Output = T>) -> Option<T> {
    let mut output = pin!(output);
    loop {
        if let Ok(output) = timeout_at(by(), &mut output).await {
            return Some(output);
        }
        if by() <= Instant::now() {
            return None;
        }
    }
}
