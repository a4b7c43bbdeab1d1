//! The records of one partition that a client got, held against the log.

use bytes::Bytes;
use sluicegate_protocol::KafkaMessage;

use crate::kafka::log::{Log, Outcome, Written};

/// The records of a log that are for a client.
#[derive(Debug)]
pub(crate) struct View {
    /// Whether it reads committed records only.
    pub(crate) committed: bool,
    /// The keys that it is granted always; `None`: it is granted everything.
    pub(crate) keys: Option<Vec<Bytes>>,
}

impl View {
    /// Whether the client must get it.
    fn has(&self, written: &Written) -> bool {
        let key = written.record.key.as_ref();
        self.keys.as_ref().is_none_or(|keys| key.is_some_and(|key| keys.contains(key)))
    }
}

/// The position of a client in a partition, and what it saw last.
#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    /// The offset to go on from.
    pub(crate) next: i64,
    /// The epoch and offset of the last record.
    last: Option<(i32, i64)>,
    /// The log's epoch when it began.
    pub(crate) since: i32,
}

impl History {
    pub(crate) fn at(next: i64) -> Self {
        Self { next, ..Self::default() }
    }

    /// A client that comes back does not learn that an election has lost records that it has.
    pub(crate) fn come_back(&mut self, log: &Log) {
        (self.last, self.since) = (None, log.epoch);
    }

    /// Takes the records of an answer that goes on at `next_offset`.
    pub(crate) fn take(
        &mut self,
        log: &Log,
        view: &View,
        messages: &[KafkaMessage],
        next_offset: i64,
    ) -> Result<(), String> {
        if self.next < log.base {
            let first = messages.first().map_or(next_offset, |message| message.offset);
            self.next = first.min(log.deleted).max(self.next);
        }
        for message in messages {
            let offset = message.offset;
            if offset < self.next {
                return Err(format!("offset {offset} came again, or out of order: expected {}", self.next));
            }
            let mut found: Vec<_> = log.written_as(message).collect();
            if found.is_empty() {
                return Err(format!("offset {offset} was never written like that: {message:?}"));
            }
            found.retain(|(epoch, _)| self.last.is_none_or(|last| log.has_kept(last, *epoch)));
            if found.is_empty() {
                return Err(format!("offset {offset} follows {:?}, which its log has lost", self.last));
            }
            // A batch that an election has lost can be sent again, and get its offset again.
            let Some(&(epoch, written)) = found.iter().rfind(|(epoch, _)| log.was_visible((*epoch, offset)))
            else {
                return Err(format!("offset {offset} was not committed: {found:?}"));
            };
            if view.committed && !written.was_committed() {
                return Err(format!("offset {offset} is of a transaction that is {:?}", written.outcome));
            }
            self.pass(log, view, offset, epoch)?;
            (self.last, self.next) = (Some((epoch, offset)), offset + 1);
        }
        if next_offset < self.next {
            return Err(format!("the client is told to go on at {next_offset}, before {}", self.next));
        }
        self.check_gap(log, view, next_offset)?;
        self.next = next_offset;
        Ok(())
    }

    /// Checks that there is nothing to deliver between here and `to`. If elections have lost records, any later epoch can
    /// have told of the gap.
    fn check_gap(&self, log: &Log, view: &View, to: i64) -> Result<(), String> {
        if !log.has_lost_after(0) {
            return self.pass(log, view, to, log.epoch);
        }
        let first = self.last.map_or(0, |(epoch, _)| epoch);
        let mut problem = None;
        for epoch in first..=log.epoch {
            match self.pass(log, view, to, epoch) {
                Ok(()) => return Ok(()),
                Err(text) => problem = Some(text),
            }
        }
        problem.map_or(Ok(()), Err)
    }

    /// Checks that the log of an epoch has nothing to deliver between here and `to`.
    fn pass(&self, log: &Log, view: &View, to: i64, epoch: i32) -> Result<(), String> {
        if to <= self.next {
            return Ok(());
        }
        for from in 0..=epoch {
            for ((of, offset), written) in log.written.range((from, self.next)..(from, to)) {
                let is_there = !written.is_compacted && !written.is_reopened;
                if !is_there || !view.has(written) || !log.has_kept((*of, *offset), epoch) {
                    continue;
                }
                match written.outcome {
                    Outcome::Aborted if view.committed => {}
                    Outcome::Open if view.committed => {
                        return Err(format!("offset {offset} of an open transaction was passed"));
                    }
                    _ => return Err(format!("offset {offset} was left out")),
                }
            }
        }
        Ok(())
    }

    /// Whether there are records for the client before `end` in the log of today.
    pub(crate) fn lacks(&self, log: &Log, view: &View, end: i64) -> bool {
        self.pass(log, view, end, log.epoch).is_err()
    }

    /// Records from `from` to `to` were left out, which can be those before `most`.
    pub(crate) fn skip(
        &mut self,
        log: &Log,
        view: &View,
        (from, to): (i64, i64),
        most: i64,
    ) -> Result<(), String> {
        self.check_gap(log, view, from)?;
        if from < self.next || to <= from || to > most {
            return Err(format!("skipped from {from} to {to} at {}, at most up to {most}", self.next));
        }
        self.next = to;
        Ok(())
    }
}
