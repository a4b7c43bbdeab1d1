//! The bounds of an answer.

/// The largest size of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnswerSize {
    /// In bytes. A single entry is given even if it is larger.
    pub bytes: usize,
    /// In entries; 0: as many as fit.
    pub entries: usize,
}

impl AnswerSize {
    /// Any number of entries within so many bytes.
    pub fn of_bytes(bytes: usize) -> Self {
        Self { bytes, entries: 0 }
    }

    /// Whether entries of so many bytes fit.
    pub(crate) fn fits(self, bytes: usize, entries: usize) -> bool {
        bytes <= self.bytes && (self.entries == 0 || entries <= self.entries)
    }

    /// Whether so many entries are all that are wanted.
    pub(crate) fn has_all(self, entries: usize) -> bool {
        self.entries > 0 && entries >= self.entries
    }

    /// The room that is left beside part of an answer, which has fewer entries.
    pub(crate) fn less(self, bytes: usize, entries: usize) -> Self {
        debug_assert!(!self.has_all(entries), "0 would be any number");
        let left = if self.entries == 0 { 0 } else { self.entries.saturating_sub(entries) };
        Self { bytes: self.bytes.saturating_sub(bytes), entries: left }
    }
}
