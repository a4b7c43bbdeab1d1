//! Whether a table goes on after a lost connection, and how long its client was away.

use std::time::Instant;

/// The part of a table that its client has, beside positions.
#[derive(Debug, Clone, Default)]
pub(crate) struct Away {
    /// A snapshot that is not complete begins anew.
    is_in_snapshot: bool,
    lost: Option<Instant>,
}

impl Away {
    /// A snapshot begins.
    pub(crate) fn begin(&mut self) {
        *self = Self { is_in_snapshot: true, lost: None };
    }

    /// The snapshot is complete, or the subscription goes on.
    pub(crate) fn go_on(&mut self) {
        *self = Self::default();
    }

    /// The connection is lost, if it was not lost already.
    pub(crate) fn lose(&mut self) {
        self.lost.get_or_insert_with(Instant::now);
    }

    pub(crate) fn is_in_snapshot(&self) -> bool {
        self.is_in_snapshot
    }

    /// The time since the connection was lost.
    pub(crate) fn millis(&self) -> u64 {
        self.lost.map_or(0, |lost| u64::try_from(lost.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}
