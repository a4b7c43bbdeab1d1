//! A time in which a log cannot be read.

use std::time::SystemTime;

use crate::failures::Failures;

#[derive(Debug, Clone, Copy)]
pub(super) struct Outage {
    /// When it began.
    pub(super) since: SystemTime,
    /// Whether the client knows of it.
    pub(super) is_told: bool,
    pub(super) failures: Failures,
}

impl Outage {
    pub(super) fn new(since: SystemTime) -> Self {
        Self { since, is_told: false, failures: Failures::default() }
    }
}
