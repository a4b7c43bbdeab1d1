//! A callback that did not return.

use std::fmt;

/// The filter stopped for good: a panic, an access out of bounds, an endless loop, or something this host never accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trap {
    /// The exported function that did not return.
    pub callback: String,
    /// The runtime's words. What the filter itself said, a panic message for one, is in the log.
    pub reason: String,
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} trapped: {}", self.callback, self.reason)
    }
}
