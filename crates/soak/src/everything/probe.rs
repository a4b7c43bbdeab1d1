//! A client's expectation: the next number of each partition, in time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::Failure;

/// What all clients of a kind have seen.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) records: AtomicU64,
    pub(super) connections: AtomicU64,
    /// The longest time without a record, in milliseconds.
    pub(super) longest_ms: AtomicU64,
}

/// One client's.
pub(super) struct Probe {
    name: String,
    counts: Arc<Counts>,
    /// The last number of each partition or key, and when it came.
    last: BTreeMap<String, u64>,
    heard: BTreeMap<String, Instant>,
    /// Whether each number comes: a table has the newest of each key only.
    is_table: bool,
    began: Instant,
}

impl Probe {
    pub(super) fn new(name: String, counts: &Arc<Counts>, is_table: bool) -> Self {
        let (counts, began) = (Arc::clone(counts), Instant::now());
        Self { name, counts, last: BTreeMap::new(), heard: BTreeMap::new(), is_table, began }
    }

    pub(super) fn connected(&self) {
        self.counts.connections.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes a record of a partition, or of a table's key in it. Its value is a JSON string that begins with its number.
    pub(super) fn take(&mut self, partition: &str, key: &str, value: &[u8]) -> Result<(), Failure> {
        let number =
            std::str::from_utf8(value).ok().and_then(|text| text.trim_start_matches('"').split(' ').next());
        let number = number.and_then(|number| number.parse::<u64>().ok());
        let number = number.ok_or_else(|| format!("{}: no number in {}", self.name, value.escape_ascii()))?;
        let of = if self.is_table { key } else { partition };
        if let Some(last) = self.last.insert(of.to_owned(), number) {
            let fits = if self.is_table { number >= last } else { number == last + 1 };
            if !fits {
                return Err(format!("{}: {number} follows {last} in {of}", self.name).into());
            }
        }
        let now = Instant::now();
        if let Some(before) = self.heard.insert(partition.to_owned(), now) {
            self.note(now.duration_since(before));
        }
        self.counts.records.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Fails if a partition has been silent for too long.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let (now, mut silent) = (Instant::now(), self.heard.iter());
        if self.heard.is_empty() && now.duration_since(self.began) > START {
            return Err(format!("{}: no record in {START:?}", self.name).into());
        }
        match silent.find(|(_, heard)| now.duration_since(**heard) > STALL) {
            Some((partition, heard)) => {
                Err(format!("{}: no record of {partition} for {:?}", self.name, now.duration_since(*heard))
                    .into())
            }
            None => Ok(()),
        }
    }

    fn note(&self, silence: Duration) {
        let millis = u64::try_from(silence.as_millis()).unwrap_or(u64::MAX);
        self.counts.longest_ms.fetch_max(millis, Ordering::Relaxed);
    }
}

/// The longest time without a record of a partition.
pub(super) const STALL: Duration = Duration::from_secs(5);
/// The time until the first record: all clients connect at once.
const START: Duration = Duration::from_secs(30);
