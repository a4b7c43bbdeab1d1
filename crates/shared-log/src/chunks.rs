//! The chunks of one log.

use std::collections::BTreeMap;

use crate::chunk::Chunk;
use crate::fetch::AnswerSize;
use crate::marks::Marks;

/// Chunks of one log, none of them within another.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    /// By their first position. Because no chunk is within another, their ends are in the same order.
    by_base: BTreeMap<i64, Kept>,
}

/// A chunk, and its number in the order of arrival.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) chunk: Chunk,
    pub(crate) number: u64,
    marks: Marks,
}

impl Chunks {
    pub(crate) fn is_empty(&self) -> bool {
        self.by_base.is_empty()
    }

    /// The chunk that covers `position`, and those that follow without a gap, until they have `enough` together. With
    /// the marks of the first one.
    pub(crate) fn read(&self, position: i64, enough: AnswerSize) -> (Vec<Chunk>, Option<Marks>) {
        let (mut found, mut marks) = (Vec::new(), None);
        let (mut next, mut len, mut count) = (position, 0_usize, 0_usize);
        while let Some(kept) = self.at(next) {
            // All entries of the first one can be before the position.
            count = if found.is_empty() { 0 } else { count.saturating_add(kept.chunk.count) };
            len = len.saturating_add(kept.chunk.messages.len());
            next = kept.chunk.next_offset;
            marks.get_or_insert_with(|| kept.marks.clone());
            found.push(kept.chunk.clone());
            if len >= enough.bytes || enough.has_all(count) {
                break;
            }
        }
        (found, marks)
    }

    pub(crate) fn covers(&self, position: i64) -> bool {
        self.at(position).is_some()
    }

    /// The first position from `position` on that no chunk covers; `None` if chunks that begin from there on have
    /// `enough` bytes before that, or are more than [`MANY`].
    pub(crate) fn edge(&self, position: i64, enough: usize) -> Option<i64> {
        let mut edge = self.at(position).map_or(position, |kept| kept.chunk.next_offset);
        let mut bytes = self.by_base.get(&position).map_or(0, |kept| kept.chunk.messages.len());
        for (number, (base, kept)) in self.by_base.range(position.saturating_add(1)..).enumerate() {
            if *base > edge || bytes >= enough {
                break;
            }
            if number >= MANY {
                return None;
            }
            (edge, bytes) = (kept.chunk.next_offset, bytes.saturating_add(kept.chunk.messages.len()));
        }
        (bytes < enough).then_some(edge)
    }

    fn at(&self, position: i64) -> Option<&Kept> {
        // The last chunk that begins at or before the position is the one that ends last.
        let (_, kept) = self.by_base.range(..=position).next_back()?;
        Some(kept).filter(|kept| kept.chunk.covers(position))
    }

    /// Adds a chunk. Gives those that it covers, which are dropped; `None` if another one covers it.
    pub(crate) fn insert(&mut self, chunk: Chunk, number: u64) -> Option<Vec<Kept>> {
        if self.at(chunk.base).is_some_and(|known| known.chunk.next_offset >= chunk.next_offset) {
            return None;
        }
        let is_covered = |kept: &Kept| kept.chunk.next_offset <= chunk.next_offset;
        let within = self.by_base.range(chunk.base..chunk.next_offset);
        let covered: Vec<i64> = within.filter(|(_, kept)| is_covered(kept)).map(|(base, _)| *base).collect();
        let dropped: Vec<Kept> = covered.iter().filter_map(|base| self.by_base.remove(base)).collect();
        self.by_base.insert(chunk.base, Kept { chunk, number, marks: Marks::default() });
        Some(dropped)
    }

    pub(crate) fn remove(&mut self, base: i64) -> Option<Kept> {
        self.by_base.remove(&base)
    }

    pub(crate) fn into_kept(self) -> impl Iterator<Item = Kept> {
        self.by_base.into_values()
    }
}

/// Chunks that are looked at for an edge: the lock is everybody's.
const MANY: usize = 64;
