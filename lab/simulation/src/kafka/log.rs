//! A partition's log as its leader has it, and all that was ever written there.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use sluicegate_protocol::KafkaMessage;
use tokio::time::Instant;

use super::accounts::Counted;

/// A log. Offsets before `committed` are on all in-sync replicas, and consumers can read them.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// Where it began: 0, or 1 on NATS, where 0 stands for the first message that is there.
    pub(crate) base: i64,
    pub(crate) start: i64,
    pub(crate) end: i64,
    /// Kafka's high watermark.
    pub(crate) committed: i64,
    /// The highest one that the records before it have survived: a new leader can know an earlier one.
    pub(crate) durable: i64,
    pub(crate) epoch: i32,
    /// By their first offset, without gaps in what they stand for.
    pub(crate) batches: BTreeMap<i64, Batch>,
    /// The first offset of each open transaction, by producer.
    pub(crate) open: BTreeMap<i64, i64>,
    pub(crate) aborted: Vec<Aborted>,
    /// The first offset of each epoch that wrote something, or could have.
    pub(crate) epochs: BTreeMap<i32, i64>,
    /// All records that ever were in the log, by epoch and offset.
    pub(crate) written: BTreeMap<(i32, i64), Written>,
    /// The end of the log after each election.
    pub(crate) elections: BTreeMap<i32, i64>,
    /// The highest `start`.
    pub(crate) deleted: i64,
    /// The highest end for consumers in each epoch.
    pub(crate) visible: BTreeMap<i32, i64>,
    /// All batches of idempotent producers that were ever appended.
    pub(super) counted: Vec<Counted>,
    /// Whether its leader has forgotten producers because it was started again without records.
    pub(crate) has_forgotten: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Batch {
    /// The offset after the last record, which can be compacted away.
    pub(crate) end: i64,
    pub(crate) epoch: i32,
    pub(crate) at: Instant,
    /// The producer of a transaction.
    pub(crate) producer: Option<i64>,
    pub(crate) records: Vec<Record>,
    /// It ends the transaction: whether it commits it.
    pub(crate) ends: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) offset: i64,
    pub(crate) key: Option<Bytes>,
    pub(crate) value: Option<Bytes>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Aborted {
    pub(crate) producer: i64,
    pub(crate) first: i64,
    /// The offset of its marker.
    pub(crate) last: i64,
}

/// A record that was written once.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    pub(crate) record: Record,
    pub(crate) outcome: Outcome,
    pub(crate) is_compacted: bool,
    /// Of a removal that was compacted: until when it stays.
    stays_until: Option<Instant>,
    /// Whether an election has lost the end of its transaction, which clients could know.
    pub(crate) is_reopened: bool,
    producer: Option<i64>,
}

/// The fate of a record's transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Open,
    Committed,
    Aborted,
}

impl Written {
    /// Whether clients could know that its transaction was committed.
    pub(crate) fn was_committed(&self) -> bool {
        self.outcome == Outcome::Committed || self.is_reopened
    }
}

impl Log {
    /// An empty log that begins with this offset.
    pub(crate) fn new(base: i64) -> Self {
        let (start, end, committed, durable) = (base, base, base, base);
        Self { base, start, end, committed, durable, epochs: BTreeMap::from([(0, base)]), ..Self::default() }
    }

    /// Appends a batch with these keys and values, which belongs to the producer's open transaction if one is given.
    pub(crate) fn append(&mut self, producer: Option<i64>, entries: Vec<(Option<Bytes>, Option<Bytes>)>) {
        let base = self.end;
        let outcome = if producer.is_some() { Outcome::Open } else { Outcome::Committed };
        let mut records = Vec::new();
        for (key, value) in entries {
            let record = Record { offset: self.end, key, value };
            let (is_compacted, is_reopened, stays_until) = (false, false, None);
            records.push(record.clone());
            let written = Written { record, outcome, is_compacted, stays_until, is_reopened, producer };
            self.written.insert((self.epoch, self.end), written);
            self.end += 1;
        }
        if let Some(producer) = producer {
            self.open.entry(producer).or_insert(base);
        }
        let (end, epoch, at) = (self.end, self.epoch, Instant::now());
        self.batches.insert(base, Batch { end, epoch, at, producer, records, ends: None });
    }

    /// Ends a producer's transaction, if one is open.
    pub(crate) fn end_transaction(&mut self, producer: i64, commits: bool) {
        let Some(first) = self.open.remove(&producer) else { return };
        let outcome = if commits { Outcome::Committed } else { Outcome::Aborted };
        for written in self.written.values_mut() {
            if written.producer == Some(producer) && written.outcome == Outcome::Open {
                written.outcome = outcome;
            }
        }
        if !commits {
            self.aborted.push(Aborted { producer, first, last: self.end });
        }
        let (marker, producer, records, ends) = (self.end, Some(producer), Vec::new(), Some(commits));
        self.end += 1;
        let (end, epoch, at) = (self.end, self.epoch, Instant::now());
        self.batches.insert(marker, Batch { end, epoch, at, producer, records, ends });
    }

    /// Kafka's last stable offset: where the first open transaction begins. A transaction whose end is not on all
    /// replicas yet is open for readers.
    pub(crate) fn stable(&self) -> i64 {
        self.stable_until(self.committed)
    }

    /// The same on a replica whose records are committed until `end`.
    pub(crate) fn stable_until(&self, end: i64) -> i64 {
        let open = self.open.values().copied();
        let ending = self.batches.range(end..).filter(|(_, batch)| batch.ends.is_some());
        let ending = ending.filter_map(|(_, batch)| self.first_of(batch.producer?, end));
        open.chain(ending).fold(end, i64::min)
    }

    /// The end of the records that were written so long ago, and are committed.
    pub(crate) fn end_before(&self, age: Duration) -> i64 {
        let is_young = |batch: &Batch| batch.at.elapsed() < age;
        let young = self.batches.iter().find(|(_, batch)| is_young(batch)).map(|(base, _)| *base);
        young.map_or(self.committed, |base| base.min(self.committed)).max(self.start)
    }

    /// The end of the log for consumers, which leave out open transactions or not.
    pub(crate) fn end_for(&self, committed: bool) -> i64 {
        if committed { self.stable() } else { self.committed }
    }

    /// The highest end of the log that consumers could ever see. After an election that has lost some of it, also within
    /// open transactions.
    pub(crate) fn highest_end(&self, committed: bool) -> i64 {
        match committed && !self.has_lost_after(0) {
            true => self.stable_until(self.durable),
            false => self.visible.values().copied().fold(self.durable, i64::max),
        }
    }

    /// The first offset of the transaction of a producer whose marker is not before `committed`.
    fn first_of(&self, producer: i64, committed: i64) -> Option<i64> {
        let is_its = |batch: &Batch| batch.producer == Some(producer);
        let mut before = self.batches.range(..committed).rev();
        let last_end = before.find(|(_, batch)| is_its(batch) && batch.ends.is_some());
        let after = last_end.map_or(self.start, |(base, _)| base + 1);
        self.batches.range(after..).find(|(_, batch)| is_its(batch)).map(|(base, _)| *base)
    }

    /// A new leader, which has the records before `kept` only.
    pub(crate) fn elect(&mut self, kept: i64) {
        let kept = kept.clamp(self.start, self.end);
        // Replicas have whole batches.
        let kept = match self.batches.range(..kept).next_back() {
            Some((base, batch)) if batch.end > kept => *base,
            _ => kept,
        };
        self.start = self.start.min(kept);
        self.epoch += 1;
        let lost = self.batches.split_off(&kept);
        for (base, batch) in lost.iter().rev() {
            if let (Some(producer), Some(commits)) = (batch.producer, batch.ends) {
                // The transaction is open again.
                self.reopen(producer, *base, commits);
            }
        }
        self.open.retain(|_, first| *first < kept);
        self.end = kept;
        self.committed = self.committed.min(kept);
        self.durable = self.durable.min(kept);
        self.epochs.retain(|_, first| *first < kept);
        self.epochs.insert(self.epoch, kept);
        self.elections.insert(self.epoch, kept);
    }

    fn reopen(&mut self, producer: i64, marker: i64, commits: bool) {
        let was_visible = marker < self.durable;
        let is_its = |batch: &Batch| batch.producer == Some(producer);
        let mut before = self.batches.iter().rev();
        let before = before.by_ref().take_while(|(_, batch)| !is_its(batch) || batch.ends.is_none());
        let first = before.filter(|(_, batch)| is_its(batch)).map(|(base, _)| *base).last();
        if !commits {
            self.aborted.retain(|aborted| (aborted.producer, aborted.last) != (producer, marker));
        }
        let Some(first) = first else { return };
        self.open.insert(producer, first);
        for ((_, offset), written) in &mut self.written {
            if written.producer == Some(producer) && (first..marker).contains(offset) {
                written.outcome = Outcome::Open;
                written.is_reopened |= was_visible;
            }
        }
    }

    /// Deletes the records before an offset, at most those that are stable.
    pub(crate) fn delete_before(&mut self, offset: i64) {
        let offset = offset.min(self.stable());
        if offset <= self.start {
            return;
        }
        self.start = offset;
        self.deleted = self.deleted.max(offset);
        self.batches.retain(|_, batch| batch.end > offset);
        self.aborted.retain(|aborted| aborted.last >= offset);
    }

    /// Removes stable records whose key has a newer one before `until`, and those of aborted transactions, as Kafka's
    /// cleaner does. Records without key stay. A removal stays for `life` after it was compacted first.
    pub(crate) fn compact(&mut self, until: i64, life: Duration) {
        let until = until.min(self.stable());
        let mut newest = BTreeMap::new();
        let is_aborted = |epoch: i32, offset: i64, written: &BTreeMap<(i32, i64), Written>| {
            written.get(&(epoch, offset)).is_some_and(|written| written.outcome == Outcome::Aborted)
        };
        for batch in self.batches.range(..until).map(|(_, batch)| batch) {
            for record in batch.records.iter().filter(|record| record.offset < until) {
                if let Some(key) = &record.key
                    && !is_aborted(batch.epoch, record.offset, &self.written)
                {
                    newest.insert(key.clone(), record.offset);
                }
            }
        }
        for batch in self.batches.range_mut(..until).map(|(_, batch)| batch) {
            let (epoch, written) = (batch.epoch, &mut self.written);
            batch.records.retain(|record| {
                let is_old = record.key.as_ref().is_some_and(|key| newest.get(key) != Some(&record.offset));
                let is_within = record.offset < until && record.offset >= self.start;
                let is_forgotten = is_within
                    && record.value.is_none()
                    && written.get_mut(&(epoch, record.offset)).is_some_and(|written| {
                        let until =
                            written.stays_until.get_or_insert_with(|| Instant::now() + life.max(PASS));
                        *until <= Instant::now()
                    });
                let goes = is_within && (is_old || is_forgotten || is_aborted(epoch, record.offset, written));
                if goes && let Some(written) = written.get_mut(&(epoch, record.offset)) {
                    written.is_compacted = true;
                }
                !goes
            });
        }
        // Kafka keeps the last batch of a log, and batches with the newest sequence of a producer: all of these here.
        let last = self.batches.last_key_value().map(|(base, _)| *base);
        self.batches.retain(|base, batch| {
            !batch.records.is_empty() || batch.end > until || Some(*base) == last || batch.producer.is_some()
        });
    }

    /// The offset after the last entry of this epoch, or of the last one before it, with that epoch; `None` if no such
    /// epoch is known. Kafka's `LeaderEpochFileCache.endOffsetFor`.
    pub(crate) fn end_of_epoch(&self, epoch: i32) -> Option<(i32, i64)> {
        if epoch == self.epoch {
            return Some((epoch, self.end));
        }
        let (_, later) = self.epochs.range(epoch.saturating_add(1)..).next()?;
        let found = self.epochs.range(..=epoch).next_back().map_or(epoch, |(found, _)| *found);
        Some((found, *later))
    }

    /// Whether an election after this epoch has lost records that consumers could read.
    pub(crate) fn has_lost_after(&self, epoch: i32) -> bool {
        self.elections
            .range(epoch.saturating_add(1)..)
            .any(|(later, kept)| self.visible.range(..later).any(|(_, end)| end > kept))
    }

    /// All replicas have the records before `end`.
    pub(crate) fn commit(&mut self, end: i64) {
        self.committed = self.committed.max(end.min(self.end));
        self.durable = self.durable.max(self.committed);
        self.visible.insert(self.epoch, self.committed);
    }

    /// The offset of its first record, which is where a stream of NATS begins, or of the next one.
    pub(crate) fn first(&self) -> i64 {
        let mut records = self.batches.values().flat_map(|batch| &batch.records);
        records.find(|record| record.offset >= self.start).map_or(self.end, |record| record.offset)
    }

    /// The size of its records for clients, in bytes, at most.
    pub(crate) fn size(&self) -> usize {
        let records = self.batches.values().flat_map(|batch| &batch.records);
        let len = |field: &Option<Bytes>| field.as_ref().map_or(0, Bytes::len);
        records.map(|record| len(&record.key) + len(&record.value) + FRAME).sum()
    }

    /// Whether a record at this offset was compacted away.
    pub(crate) fn has_compacted(&self, offset: i64) -> bool {
        self.written.iter().any(|((_, of), written)| *of == offset && written.is_compacted)
    }

    /// The epochs in which a message was written as it is, and what became of it.
    pub(crate) fn written_as(&self, message: &KafkaMessage) -> impl Iterator<Item = (i32, &Written)> {
        let of_epoch = move |epoch| Some((epoch, self.written.get(&(epoch, message.offset))?));
        let is_it = move |(_, written): &(i32, &Written)| {
            (&written.record.key, &written.record.value) == (&message.key, &message.value)
        };
        (0..=self.epoch).filter_map(of_epoch).filter(is_it)
    }

    /// Whether consumers could ever read a record, by its epoch and offset.
    pub(crate) fn was_visible(&self, (epoch, offset): (i32, i64)) -> bool {
        let mut later = self.visible.range(epoch..);
        later.any(|(later, end)| offset < *end && self.has_kept((epoch, offset), *later))
    }

    /// Whether the log of `epoch` has the record of an earlier epoch.
    pub(crate) fn has_kept(&self, (written, offset): (i32, i64), epoch: i32) -> bool {
        let mut later = self.elections.range(written.saturating_add(1)..);
        written <= epoch && later.by_ref().take_while(|(of, _)| **of <= epoch).all(|(_, kept)| offset < *kept)
    }
}

/// Bytes of a record's other fields and of its frame, at most.
const FRAME: usize = 64;

/// The least time between two passes of the cleaner over a log.
pub(crate) const PASS: Duration = Duration::from_secs(1);
