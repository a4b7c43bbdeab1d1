//! A client's expectation: the next number of each partition, in time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::Failure;

/// Totals of all clients of a kind.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) records: AtomicU64,
    pub(super) connections: AtomicU64,
    /// The longest time from a write to a client, in milliseconds.
    pub(super) latest_ms: AtomicU64,
}

pub(super) struct Probe {
    counts: Arc<Counts>,
    partitions: BTreeMap<String, Partition>,
    /// A table has the newest record of each key only.
    is_table: bool,
    connections: u64,
    /// When the last of them was opened.
    connected: Instant,
    began: Instant,
}

#[derive(Default)]
struct Partition {
    newest: Option<u64>,
    heard: Option<Instant>,
    /// The number of each key of a table.
    keys: BTreeMap<String, u64>,
}

impl Probe {
    pub(super) fn new(counts: &Arc<Counts>, partitions: Vec<String>, is_table: bool) -> Self {
        let partitions = partitions.into_iter().map(|name| (name, Partition::default())).collect();
        let began = Instant::now();
        Self { counts: Arc::clone(counts), partitions, is_table, connections: 0, connected: began, began }
    }

    /// Counts a connection, of which there are as many as identities at most.
    pub(super) fn connected(&mut self) -> Result<(), Failure> {
        self.counts.connections.fetch_add(1, Ordering::Relaxed);
        (self.connections, self.connected) = (self.connections + 1, Instant::now());
        let most = 2 + self.began.elapsed().as_secs() / SHORTEST_IDENTITY.as_secs();
        if self.connections > most {
            return Err(format!("{} connections in {:?}", self.connections, self.began.elapsed()).into());
        }
        Ok(())
    }

    /// Takes a record. Its value is a JSON string that begins with its number and the time of its write.
    pub(super) fn take(&mut self, partition: &str, key: &str, value: &[u8]) -> Result<(), Failure> {
        let (number, written) =
            parse(value).ok_or_else(|| format!("a record of another form: {}", value.escape_ascii()))?;
        let of = self.partitions.get_mut(partition).ok_or_else(|| format!("a record of {partition}"))?;
        if self.is_table {
            // The keys take turns, and none has another record before the last one has arrived.
            if let Some(last) = of.keys.insert(key.to_owned(), number) {
                let since =
                    number.checked_sub(last).ok_or_else(|| format!("{number} follows {last} of {key}"))?;
                if since != KEYS {
                    return Err(format!("{number} follows {last} of {key}").into());
                }
            }
        } else if of.newest.is_some_and(|newest| number != newest + 1) {
            return Err(format!("{number} follows {:?} of {partition}", of.newest).into());
        }
        let is_newest = of.newest.is_none_or(|newest| number > newest);
        if is_newest {
            // The first ones of a table are as old as they are.
            if of.newest.is_some() {
                self.counts.latest_ms.fetch_max(now().saturating_sub(written), Ordering::Relaxed);
            }
            (of.newest, of.heard) = (Some(number), Some(Instant::now()));
        }
        self.counts.records.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Fails if a partition has been silent for too long, or a key of a table.
    pub(super) fn check(&self) -> Result<(), Failure> {
        for (name, Partition { newest, heard, keys }) in &self.partitions {
            let silence = heard.unwrap_or(self.began).elapsed();
            let most = if heard.is_some() { STALL } else { START };
            if silence > most {
                let silences = self.partitions.iter().map(|(name, partition)| {
                    format!("{name}: {:?}", partition.heard.unwrap_or(self.began).elapsed())
                });
                return Err(format!(
                    "no record of {name} for {silence:?}; connected for {:?}; all silences: {}",
                    self.connected.elapsed(),
                    silences.collect::<Vec<_>>().join(", ")
                )
                .into());
            }
            let oldest = newest.unwrap_or_default().saturating_sub(2 * KEYS);
            if let Some((key, number)) = keys.iter().find(|(_, number)| **number < oldest) {
                return Err(format!("{key} has {number}, and the newest is {newest:?}").into());
            }
        }
        Ok(())
    }
}

fn parse(value: &[u8]) -> Option<(u64, u64)> {
    let mut parts = std::str::from_utf8(value).ok()?.trim_start_matches('"').split(' ');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The longest time without a record of a partition, and of a request.
pub(super) const STALL: Duration = Duration::from_secs(5);
/// The time until the first record: all clients connect at once.
const START: Duration = Duration::from_secs(30);
/// The shortest validity of a token.
pub(super) const SHORTEST_IDENTITY: Duration = Duration::from_secs(30);
pub(super) const KEYS: u64 = 50;
