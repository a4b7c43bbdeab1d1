//! A callback that did not return.

use std::fmt;

/// The module trapped: a panic, an access out of bounds, an endless loop, or a call that this host never accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trap {
    /// The exported function that trapped.
    pub callback: String,
    /// The runtime's reason. A panic's own message is in the log.
    pub reason: String,
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} trapped: {}", self.callback, self.reason)
    }
}
