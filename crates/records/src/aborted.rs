//! The aborted transactions of a partition, whose records a reader of committed records leaves out (KIP-98).

use std::collections::BTreeSet;

use crate::batch::Batch;

/// An aborted transaction, as Fetch responses list them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// The producer that aborted it.
    pub producer_id: i64,
    /// The offset of its first record.
    pub first_offset: i64,
}

/// The aborted transactions that are open at a position of the log.
#[derive(Debug)]
pub(crate) struct Aborted {
    /// Transactions that begin later, the last one first.
    coming: Vec<AbortedTransaction>,
    /// The producers of those that have begun and not ended.
    open: BTreeSet<i64>,
}

impl Aborted {
    pub(crate) fn new(transactions: &[AbortedTransaction]) -> Self {
        let mut coming = transactions.to_vec();
        coming.sort_unstable_by_key(|transaction| std::cmp::Reverse(transaction.first_offset));
        Self { coming, open: BTreeSet::new() }
    }

    /// Whether the next batch of the log belongs to an aborted transaction.
    pub(crate) fn has(&mut self, batch: &Batch<'_>) -> bool {
        while let Some(begun) = self.coming.pop_if(|coming| coming.first_offset < batch.next_offset) {
            self.open.insert(begun.producer_id);
        }
        batch.is_transactional() && self.open.contains(&batch.producer_id)
    }

    /// The producer's transaction has been aborted: its later records belong to another one.
    pub(crate) fn ended(&mut self, producer_id: i64) {
        self.open.remove(&producer_id);
    }
}
