//! The places of some entries of a chunk, so that a read in its middle passes few of them.

use std::sync::{Arc, OnceLock};

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

/// The marks of one chunk, made when they are first needed. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Marks(Arc<OnceLock<Marked>>);

/// Marks, and the positions of their entries in the log.
type Marked = Box<[(i64, Mark)]>;

/// The place of an entry in its chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The byte at which it starts.
    pub(crate) start: usize,
    /// The number of entries before it.
    pub(crate) before: usize,
}

impl Mark {
    /// The first entry.
    pub(crate) const START: Self = Self { start: 0, before: 0 };

    /// The entry that follows this one, of `len` bytes.
    pub(crate) fn after(self, len: usize) -> Self {
        Self { start: self.start.saturating_add(len), before: self.before.saturating_add(1) }
    }
}

impl Marks {
    /// One of the chunk's `count` entries at or before `position`, with at most [`EVERY`] entries between.
    pub(crate) fn near(&self, (entries, count): (&[u8], usize), position: i64, first: FirstEntry) -> Mark {
        if count <= EVERY {
            return Mark::START;
        }
        let marks = self.0.get_or_init(|| marks_of(entries, first));
        let following = marks.partition_point(|(marked, _)| *marked <= position);
        following.checked_sub(1).and_then(|last| marks.get(last)).map_or(Mark::START, |(_, mark)| *mark)
    }
}

fn marks_of(entries: &[u8], first: FirstEntry) -> Marked {
    let (mut marks, mut at) = (Vec::new(), Mark::START);
    while let Some(entry) = entries.get(at.start..).and_then(first) {
        if at.before.is_multiple_of(EVERY) {
            marks.push((entry.position, at));
        }
        at = at.after(entry.len);
    }
    marks.into()
}

/// Entries from one mark to the next. Marks take about a hundredth of the room of the smallest entries.
const EVERY: usize = 256;

#[cfg(test)]
mod tests;
