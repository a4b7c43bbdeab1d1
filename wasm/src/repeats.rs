//! Which lines of the log are due: the first time, and then each time that their count has doubled. Clients can repeat what makes
//! them, and Apache APISIX has no clock here.

use std::cell::RefCell;
use std::collections::BTreeMap;

/// How often each line was asked for. At most [`MAX_LINES`] are told apart.
pub(crate) struct Repeats(RefCell<BTreeMap<String, u64>>);

impl Repeats {
    pub(crate) const fn new() -> Self {
        Self(RefCell::new(BTreeMap::new()))
    }

    /// How often `line` was asked for, if it is due.
    pub(crate) fn due(&self, line: &str) -> Option<u64> {
        let mut counts = self.0.borrow_mut();
        if counts.len() >= MAX_LINES && !counts.contains_key(line) {
            counts.clear();
        }
        let count = counts.entry(line.to_owned()).or_default();
        *count = count.saturating_add(1);
        count.is_power_of_two().then_some(*count)
    }

    /// What made the lines is mended.
    pub(crate) fn forget(&self) {
        self.0.borrow_mut().clear();
    }
}

/// More than anybody's mistakes at the same time.
const MAX_LINES: usize = 64;
