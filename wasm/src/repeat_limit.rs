//! Limits repeated log lines: a line is logged the first time and whenever its count has doubled. Clients can trigger
//! such lines at will, and there is no clock in Apache APISIX.

use std::cell::RefCell;
use std::collections::BTreeMap;

/// The count of each line, of at most [`MAX_LINES`] different ones.
pub(crate) struct RepeatLimit(RefCell<BTreeMap<String, u64>>);

impl RepeatLimit {
    pub(crate) const fn new() -> Self {
        Self(RefCell::new(BTreeMap::new()))
    }

    /// Counts `line`; returns the count if the line should be logged.
    pub(crate) fn due(&self, line: &str) -> Option<u64> {
        let mut counts = self.0.borrow_mut();
        if counts.len() >= MAX_LINES && !counts.contains_key(line) {
            counts.clear();
        }
        let count = counts.entry(line.to_owned()).or_default();
        *count = count.saturating_add(1);
        count.is_power_of_two().then_some(*count)
    }

    /// Starts over, once the cause of the lines is fixed.
    pub(crate) fn reset(&self) {
        self.0.borrow_mut().clear();
    }
}

/// Different lines that are counted; beyond it, all counts start over.
const MAX_LINES: usize = 64;
