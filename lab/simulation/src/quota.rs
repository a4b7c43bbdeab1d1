//! Quotas of people: what a bridge may give to one, and what it has given.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sluicegate_delivery::quota::{Account, People, Usage};
use sluicegate_fair_share::ClientKey;
use sluicegate_protocol::KafkaMessage;
use sluicegate_rights::Quota;
use sluicegate_telemetry::metrics::QuotaMetrics;
use tokio::time::Instant;

use crate::client::framed_len;

/// The people of a bridge whose quotas count. Each client is one.
pub(crate) struct Quotas {
    people: People,
    metrics: Arc<QuotaMetrics>,
    received: Mutex<BTreeMap<ClientKey, Arc<Received>>>,
}

/// The bytes of records that a client has received from a bridge.
pub(crate) struct Received {
    begun: Instant,
    state: Mutex<State>,
}

struct State {
    bytes: u64,
    /// When all of them are paid for, if they were counted as late as they were received.
    paid_at: Instant,
    problem: Option<String>,
}

impl Quotas {
    pub(crate) fn new(metrics: Arc<QuotaMetrics>) -> Self {
        Self { people: People::default(), metrics, received: Mutex::default() }
    }

    /// The use of a client's quota, and what the client has received so far.
    pub(crate) fn of(&self, client: ClientKey) -> (Arc<Usage>, Arc<Received>) {
        let account = Account {
            cluster: 0,
            route: None,
            quota: QUOTA,
            issuer: None,
            subject: client.address().map(|address| address.to_string()),
        };
        let received = Arc::clone(self.received.lock().entry(client).or_insert_with(Received::new));
        (self.people.usage(account, &self.metrics), received)
    }

    /// Checks that nobody has received more than the quota allows.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.received.lock().iter().try_for_each(|(client, received)| {
            let problem = received.state.lock().problem.take();
            problem.map_or(Ok(()), |problem| Err(format!("{client:?}: {problem}")))
        })
    }
}

impl Received {
    fn new() -> Arc<Self> {
        let now = Instant::now();
        let state = State { bytes: 0, paid_at: now, problem: None };
        Arc::new(Self { begun: now, state: Mutex::new(state) })
    }

    /// Counts the records of an answer, which may be given while no more is owed than what can be used in advance.
    pub(crate) fn count(&self, messages: &[KafkaMessage]) {
        let bytes: usize = messages.iter().map(framed_len).sum();
        let (now, mut state) = (Instant::now(), self.state.lock());
        // The bridge rounds each count.
        let most = (self.begun.elapsed() + ADVANCE).as_nanos() * u128::from(BYTES.get()) / 1_000_000_000 + 1;
        if bytes > 0 && u128::from(state.bytes) > most {
            state.problem = Some(format!("got {bytes} bytes after {}, of at most {most}", state.bytes));
        }
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        state.bytes += bytes;
        state.paid_at = now.max(state.paid_at) + time_of(bytes);
    }

    /// The longest time until the client may read again.
    pub(crate) fn owed(&self) -> Duration {
        self.state.lock().paid_at.saturating_duration_since(Instant::now() + ADVANCE)
    }
}

/// The time in which a client may read so many bytes of records.
pub(crate) fn time_of(bytes: u64) -> Duration {
    Duration::from_millis(bytes * 1_000 / u64::from(BYTES.get()))
}

/// Bytes of records a second.
const BYTES: NonZeroU32 = NonZeroU32::new(2 * 1024).expect("not zero");

/// Little of everything. A place that is not given back is missing at once.
const QUOTA: Quota = Quota {
    sessions: NonZeroU32::MIN,
    subscriptions: NonZeroU32::MIN,
    consumers: NonZeroU32::MIN,
    commands_per_second: NonZeroU32::new(2).expect("not zero"),
    records_per_second: NonZeroU32::new(3).expect("not zero"),
    read_bytes_per_second: BYTES,
    write_bytes_per_second: NonZeroU32::new(100).expect("not zero"),
};

/// The time whose part of a quota can be used at once.
const ADVANCE: Duration = Duration::from_secs(5);
