//! The places of encoded entries.

/// The place of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Its position in the log.
    pub position: i64,
    /// Its encoded size in bytes.
    pub len: usize,
}

/// The first of some encoded entries; `None` if there is none, or it is malformed.
pub type FirstEntry = fn(&[u8]) -> Option<Entry>;
