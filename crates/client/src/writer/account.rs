//! The numbers of a writer's records, as a value: an outcome of a batch leads to one next step.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::{Producer, Reason, RecordError, Written};

/// The producer of a [`Writer`](super::Writer): its id, how far it has come in each partition, and the places of records that
/// have no outcome yet. Programs save it where a crash does not reach it, and nobody else: the id is a secret where the
/// route has no identity.
///
/// It belongs to one topic of one cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    id: String,
    /// The next place in each partition, behind the batches.
    next: BTreeMap<i32, Next>,
    /// The number of records of the write that has not returned; 0: none.
    unfinished: usize,
    /// The records of that write that have a place, in the order of their sequences in each partition.
    batches: Vec<Batch>,
    /// Why others were refused, by their number.
    refused: BTreeMap<usize, String>,
    /// When a try without an answer was made last, by partition: it can still arrive.
    #[serde(skip)]
    open: BTreeMap<i32, Instant>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Next {
    epoch: u16,
    sequence: u32,
}

/// Records of one command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Batch {
    pub(super) partition: i32,
    epoch: u16,
    /// Of the first record; the others count on.
    sequence: u32,
    /// Since 1970: no later than its first try.
    numbered_ms: u64,
    /// The numbers of the records in the write.
    pub(super) records: Vec<usize>,
    /// Whether an earlier try may have written it.
    #[serde(skip, default = "yes")]
    may_be_written: bool,
    #[serde(skip)]
    is_done: bool,
}

/// The consequence of a batch's outcome.
#[derive(Debug)]
pub(super) enum Step {
    /// All of it is written.
    Done,
    /// Records have other places, or batches other ends: save the account, and go on.
    Changed,
    /// Some records are refused for good; as above.
    Refused(Vec<(usize, RecordError)>),
    /// Try again later.
    Again(RecordError),
    /// Nobody can tell whether it is written, or another program writes as this producer.
    Stuck(RecordError),
}

impl Account {
    /// A producer with a random id, which has written nothing.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn new() -> io::Result<Self> {
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(|why| io::Error::other(why.to_string()))?;
        let id = id.iter().map(|byte| format!("{byte:02x}")).collect();
        let (next, refused, open) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Ok(Self { id, next, unfinished: 0, batches: Vec::new(), refused, open })
    }

    /// The number of records of a write that was begun and has not returned: the next write must have the same records. 0 if
    /// there is none.
    pub fn unfinished(&self) -> usize {
        self.unfinished
    }

    /// Begins a write of so many records.
    pub(super) fn begin(&mut self, records: usize) {
        self.unfinished = records;
    }

    /// Begins the unfinished write again: earlier tries may have written its batches.
    pub(super) fn resume(&mut self) {
        for batch in &mut self.batches {
            (batch.may_be_written, batch.is_done) = (true, false);
            self.open.insert(batch.partition, Instant::now());
        }
    }

    /// Ends the write.
    pub(super) fn finish(&mut self) {
        self.unfinished = 0;
        self.batches.clear();
        self.refused.clear();
    }

    /// Gives each of these records, with their number, partition and size, the next sequence of its partition. `None`: the
    /// producer has no further epoch.
    pub(super) fn number(&mut self, placed: impl Iterator<Item = (usize, i32, usize)>) -> Option<()> {
        // The last batch of each partition, and its bytes.
        let mut open: BTreeMap<i32, (usize, usize)> = BTreeMap::new();
        for (record, partition, bytes) in placed {
            let next = self.next.entry(partition).or_default();
            if next.sequence > MAX_SEQUENCE {
                *next = next.epoch()?;
                open.remove(&partition);
            }
            let last =
                open.get_mut(&partition).and_then(|(at, size)| Some((self.batches.get_mut(*at)?, size)));
            match last {
                Some((batch, size))
                    if batch.records.len() < BATCH_RECORDS && size.saturating_add(bytes) <= BATCH_BYTES =>
                {
                    batch.records.push(record);
                    *size = size.saturating_add(bytes);
                }
                _ => {
                    open.insert(partition, (self.batches.len(), bytes));
                    self.batches.push(Batch::new(partition, *next, vec![record]));
                }
            }
            next.sequence = next.sequence.saturating_add(1);
        }
        Some(())
    }

    /// Notes that a record was refused before it had a place.
    pub(super) fn refuse(&mut self, record: usize, why: &str) {
        self.refused.insert(record, why.to_owned());
    }

    /// Why a record was refused, also before the program was started again.
    pub(super) fn refusal(&self, record: usize) -> Option<&str> {
        self.refused.get(&record).map(String::as_str)
    }

    /// Batches that can be sent now, by their index: the first of each partition.
    pub(super) fn heads(&self) -> Vec<usize> {
        let mut partitions = BTreeSet::new();
        let left = (0..).zip(&self.batches).filter(|(_, batch)| !batch.is_done);
        left.filter(|(_, batch)| partitions.insert(batch.partition)).map(|(at, _)| at).collect()
    }

    pub(super) fn batch(&self, at: usize) -> Option<(&Batch, Producer)> {
        let batch = self.batches.get(at)?;
        let age = match batch.may_be_written {
            true => Duration::from_millis(now_ms().saturating_sub(batch.numbered_ms).max(1)),
            false => Duration::ZERO,
        };
        let (epoch, sequence) = (batch.epoch, batch.sequence);
        Some((batch, Producer { id: self.id.clone(), epoch, sequence, age }))
    }

    /// Notes that a try of a batch has no answer.
    pub(super) fn unanswered(&mut self, at: usize) {
        if let Some(batch) = self.batches.get_mut(at) {
            batch.may_be_written = true;
            self.open.insert(batch.partition, Instant::now());
        }
    }

    /// The consequence of the answer to a batch, which has an outcome for each of its records. Batches move up where some were
    /// split or refused: settle those with high indexes first.
    pub(super) fn settle(&mut self, at: usize, outcomes: &[Result<Written, RecordError>]) -> Step {
        let Some(batch) = self.batches.get_mut(at) else { return Step::Changed };
        let Some(error) = outcomes.iter().find_map(|outcome| outcome.as_ref().err()) else {
            batch.is_done = true;
            return Step::Done;
        };
        if outcomes.iter().any(|one| matches!(one, Err(why) if why.unknown_outcome)) {
            batch.may_be_written = true;
            self.open.insert(batch.partition, Instant::now());
        }
        if outcomes.iter().flat_map(|outcome| outcome.as_ref().err()).any(is_final) {
            return self.refused(at, outcomes);
        }
        let Batch { partition, epoch, sequence, may_be_written, .. } = *batch;
        let next = match (error.reason, error.producer) {
            // Nothing from its sequence on is written, so that this batch is not, nor are those behind it. But an earlier try
            // can still arrive for a while, and then takes their sequences: the next epoch ends all tries of this one.
            (Reason::OutOfOrder, Some(known))
                if known.epoch == u32::from(epoch) && known.sequence < sequence =>
            {
                match self.open.get(&partition) {
                    None => Some(Next { epoch, sequence: known.sequence }),
                    Some(open) if open.elapsed() < SETTLED => return Step::Again(error.clone()),
                    Some(_) => Next { epoch, sequence }.epoch(),
                }
            }
            // With a state of the account, no try has written it.
            (Reason::Expired, known) if known.is_some() || !may_be_written => {
                Next { epoch, sequence }.epoch()
            }
            (Reason::OutOfOrder | Reason::Fenced | Reason::Expired, _) => None,
            _ => return Step::Again(error.clone()),
        };
        let Some(next) = next else { return Step::Stuck(error.clone()) };
        self.renumber(partition, next);
        Step::Changed
    }

    /// Takes out the records of a batch that are refused for good.
    fn refused(&mut self, at: usize, outcomes: &[Result<Written, RecordError>]) -> Step {
        let Some(batch) = self.batches.get_mut(at) else { return Step::Changed };
        let (partition, next, may_be_written) = (batch.partition, batch.next(), batch.may_be_written);
        if outcomes.len() > 1 && outcomes.iter().all(is_of_content) {
            // Kafka refuses batches for one of their records, or for their own size.
            let half = outcomes.len().div_ceil(2);
            let records = batch.records.split_off(half);
            let second = batch.part(next.after(half), records);
            self.batches.insert(at.saturating_add(1), second);
            return Step::Changed;
        }
        let records = std::mem::take(&mut batch.records);
        let batch = batch.clone();
        let (mut refused, mut runs) = (Vec::new(), Vec::<Batch>::new());
        for (number, (record, outcome)) in records.into_iter().zip(outcomes).enumerate() {
            match outcome {
                Err(error) if is_final(error) => {
                    self.refused.insert(record, error.message.clone());
                    let unknown_outcome = may_be_written;
                    refused.push((record, RecordError { unknown_outcome, ..error.clone() }));
                }
                _ => {
                    let next = next.after(number);
                    match runs.last_mut() {
                        Some(run) if run.next().after(run.records.len()) == next => run.records.push(record),
                        _ => runs.push(batch.part(next, vec![record])),
                    }
                }
            }
        }
        self.batches.splice(at..=at, runs);
        // Otherwise the places are kept: the records, refused ones too, may be there.
        if !may_be_written {
            self.renumber(partition, next);
        }
        Step::Refused(refused)
    }

    /// Numbers the batches of a partition again, none of which is written.
    fn renumber(&mut self, partition: i32, mut next: Next) {
        self.open.remove(&partition);
        let batches = self.batches.iter_mut().filter(|batch| batch.partition == partition && !batch.is_done);
        for batch in batches {
            let records = std::mem::take(&mut batch.records);
            *batch = Batch::new(partition, next, records);
            next = next.after(batch.records.len());
        }
        self.next.insert(partition, next);
    }
}

impl Batch {
    /// A batch that was never sent.
    fn new(partition: i32, Next { epoch, sequence }: Next, records: Vec<usize>) -> Self {
        let numbered_ms = now_ms();
        Self { partition, epoch, sequence, numbered_ms, records, may_be_written: false, is_done: false }
    }

    /// A part of the batch, with the places of its own.
    fn part(&self, Next { epoch, sequence }: Next, records: Vec<usize>) -> Self {
        Self { epoch, sequence, records, ..*self }
    }

    /// The place of the first record.
    fn next(&self) -> Next {
        Next { epoch: self.epoch, sequence: self.sequence }
    }
}

impl Next {
    fn after(self, records: usize) -> Self {
        let records = u32::try_from(records).unwrap_or(u32::MAX);
        Self { sequence: self.sequence.saturating_add(records), ..self }
    }

    /// The beginning of the next epoch, if there is one.
    fn epoch(self) -> Option<Self> {
        let epoch = self.epoch.checked_add(1).filter(|epoch| *epoch <= MAX_EPOCH)?;
        Some(Self { epoch, sequence: 0 })
    }
}

/// Whether a record is refused, and a repeat would be.
pub(super) fn is_final(error: &RecordError) -> bool {
    use Reason::{Expired, Fenced, OutOfOrder, QueueFull, Transient, Unreachable};
    let is_open = error.retriable || error.unknown_outcome;
    !is_open && ![OutOfOrder, Fenced, Expired, QueueFull, Transient, Unreachable].contains(&error.reason)
}

/// Whether the error may be that of another record of its batch.
fn is_of_content(outcome: &Result<Written, RecordError>) -> bool {
    matches!(outcome, Err(RecordError { reason: Reason::TooLarge | Reason::InvalidRecord, .. }))
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn yes() -> bool {
    true
}

/// The time after a try without an answer in which it can still arrive: longer than a bridge tries it.
const SETTLED: Duration = Duration::from_secs(45);
/// The protocol's limit.
const BATCH_RECORDS: usize = 1_000;
/// Larger records are sent alone. Well below the 1 MiB that a gateway accepts by default.
const BATCH_BYTES: usize = 128 * 1024;
const MAX_SEQUENCE: u32 = 2_147_483_646;
const MAX_EPOCH: u16 = 32_767;
