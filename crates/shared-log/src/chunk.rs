//! Consecutive entries of one log, answers made of them, and the chunks of a log in memory.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::marks::{FirstEntry, Mark, Marks};

/// Encoded entries of a log from one position up to another. Clones share the entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// The position of the first entry, or one before it: the log has no entry in between.
    pub base: i64,
    /// The entries, one after the other. Empty at the end of the log.
    pub messages: Bytes,
    /// The number of entries.
    pub count: usize,
    /// The position to read on from. At least `base`; the log has no entry between the last one and it. It can be beyond
    /// `base` even without entries, because ranges without entries for clients are skipped.
    pub next_offset: i64,
    /// The ends of the log when the entries were read. Of entries from memory, they are as old as the last answer about
    /// the log.
    pub ends: Ends,
}

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

/// The ends of a log, as of some moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// The position of the first entry; −1 if unknown.
    pub start: i64,
    /// The position that entries of open transactions begin at, or else `end`; −1 if unknown.
    pub stable: i64,
    /// The position of the next entry; −1 if unknown.
    pub end: i64,
}

/// The ends of a log that a client has seen; `i64::MAX` for one that it need not see again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeenEnds {
    /// The position of the first entry.
    pub start: i64,
    /// The position of the next entry.
    pub end: i64,
}

impl SeenEnds {
    /// No ends are news.
    pub const ALL: Self = Self { start: i64::MAX, end: i64::MAX };
}

impl Ends {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self { start: -1, stable: -1, end: -1 };

    /// The position after the last entry that is read, by those who read committed entries or all; −1 if unknown.
    #[must_use]
    pub fn visible(self, committed: bool) -> i64 {
        if committed { self.stable } else { self.end }
    }

    /// Whether an end is news to a client that has seen these.
    #[must_use]
    pub fn is_beyond(self, seen: SeenEnds) -> bool {
        self.start > seen.start || self.end > seen.end
    }

    /// With an end of at least `next`, unless it is unknown. A server can tell the end that the log had before it read
    /// entries, while others were written.
    #[must_use]
    pub fn reaching(self, next: i64) -> Self {
        let end = if self.end < 0 { self.end } else { self.end.max(next) };
        Self { end, ..self }
    }

    /// The ends as known from both. Within one version of a log, its ends only grow.
    pub(crate) fn merge(self, other: Self) -> Self {
        Self {
            start: self.start.max(other.start),
            stable: self.stable.max(other.stable),
            end: self.end.max(other.end),
        }
    }
}

impl Chunk {
    /// A chunk without entries.
    pub fn nothing(base: i64, ends: Ends) -> Self {
        Self { base, messages: Bytes::new(), count: 0, next_offset: base, ends }
    }

    /// Whether positions from this one up to [`Chunk::next_offset`] have no entry: such as those that were compacted away,
    /// or markers of transactions.
    #[must_use]
    pub fn has_gap_from(&self, position: i64) -> bool {
        let positions = usize::try_from(self.next_offset.saturating_sub(position)).unwrap_or(0);
        positions > self.count
    }

    /// Appends the entries of `more`, which begin at [`Chunk::next_offset`] or before it, as far as all fit in `size`, in
    /// which there is room for one more at least. The second value is false if some do not fit.
    pub(crate) fn append(&self, more: &Self, size: AnswerSize, first: FirstEntry) -> (Self, bool) {
        let room = size.less(self.messages.len(), self.count);
        let (part, is_whole) = more.cut(self.next_offset, room, self.count == 0, first);
        let messages = if self.messages.is_empty() {
            part.messages
        } else {
            [&*self.messages, &*part.messages].concat().into()
        };
        let count = self.count.saturating_add(part.count);
        let next_offset = part.next_offset.max(self.next_offset);
        (Self { base: self.base, messages, count, next_offset, ends: self.ends.merge(more.ends) }, is_whole)
    }

    /// Whether a reader who waits for `min_bytes`, or for `max_entries` (0: any number), has to wait for more.
    pub(crate) fn is_too_small(&self, min_bytes: usize, max_entries: usize) -> bool {
        let has_all = max_entries > 0 && self.count >= max_entries;
        self.messages.len() < min_bytes.max(1) && !has_all
    }

    /// The chunk in parts of at most `max_bytes`, but one entry at least, each with memory of its own. After a single
    /// part, a rest of less than half a part is left out: to request it again costs less than many small answers.
    pub(crate) fn split(self, max_bytes: usize, first: FirstEntry) -> Vec<Self> {
        if self.messages.len() <= max_bytes {
            return vec![self];
        }
        let (mut parts, mut rest) = (Vec::new(), self);
        loop {
            let (part, is_whole) = rest.cut(rest.base, AnswerSize::of_bytes(max_bytes), true, first);
            let is_short = is_whole && part.messages.len() < max_bytes / 2;
            if part.count == 0 || is_short && parts.len() == 1 {
                return parts;
            }
            let messages = rest.messages.split_off(part.messages.len());
            let count = rest.count.saturating_sub(part.count);
            rest = Self { base: part.next_offset, messages, count, ..rest };
            parts.push(Self { messages: Bytes::copy_from_slice(&part.messages), ..part });
            if is_whole {
                return parts;
            }
        }
    }

    /// Whether the chunk tells which entry comes first at `position` or after it.
    pub fn covers(&self, position: i64) -> bool {
        (self.base..self.next_offset).contains(&position)
    }

    /// The entries from `position` on that fit in `size`; with `at_least_one`, the first one even if it does not fit.
    ///
    /// The second value is false if entries are left over.
    fn cut(&self, position: i64, size: AnswerSize, at_least_one: bool, first: FirstEntry) -> (Self, bool) {
        self.cut_from(self.seek(Mark::START, position, first), position, size, at_least_one, first)
    }

    /// As [`Chunk::cut`]; the mark is that of the first entry at or after `position`.
    fn cut_from(
        &self,
        Mark { start, before }: Mark,
        position: i64,
        size: AnswerSize,
        at_least_one: bool,
        first: FirstEntry,
    ) -> (Self, bool) {
        let (count, next_offset, ends) = (self.count.saturating_sub(before), self.next_offset, self.ends);
        // A malformed entry can reach beyond the end.
        let rest = self.messages.slice(start.min(self.messages.len())..);
        if size.fits(rest.len(), count) {
            return (Self { base: position, messages: rest, count, next_offset, ends }, true);
        }
        let (mut end, mut taken, mut next) = (0_usize, 0_usize, position);
        while !size.has_all(taken)
            && let Some(entry) = rest.get(end..).and_then(first)
        {
            let after = end.saturating_add(entry.len);
            if after > size.bytes && (taken > 0 || !at_least_one) {
                break;
            }
            (end, taken, next) = (after, taken.saturating_add(1), entry.position.saturating_add(1));
        }
        let is_whole = taken == count;
        let next_offset = if is_whole { next_offset } else { next };
        let messages = rest.slice(..end.min(rest.len()));
        (Self { base: position, messages, count: taken, next_offset, ends }, is_whole)
    }

    /// The first entry at or after `position`, which is looked for from `mark` on.
    fn seek(&self, mark: Mark, position: i64, first: FirstEntry) -> Mark {
        let mut found = mark;
        if position <= self.base {
            return found;
        }
        while let Some(entry) = self.messages.get(found.start..).and_then(first) {
            if entry.position >= position {
                break;
            }
            found = found.after(entry.len);
        }
        found
    }
}

/// The entries of consecutive chunks from `position` on: at most `size`, but one entry at least.
///
/// The result shares the memory of a chunk only if it needs most of it: a client that never reads must not hold much
/// more memory than its answer has bytes.
pub fn assemble(chunks: &[Chunk], position: i64, size: AnswerSize, first: FirstEntry) -> Chunk {
    assemble_marked(chunks, None, position, size, first)
}

/// As [`assemble`], with the marks of the first chunk.
pub(crate) fn assemble_marked(
    chunks: &[Chunk],
    mut marks: Option<&Marks>,
    position: i64,
    size: AnswerSize,
    first: FirstEntry,
) -> Chunk {
    let ends = chunks.last().map_or(Ends::UNKNOWN, |chunk| chunk.ends);
    let mut answer = Chunk::nothing(position, ends);
    let mut parts: Vec<(Bytes, usize)> = Vec::new();
    let mut len = 0_usize;
    for chunk in chunks {
        if !chunk.covers(answer.next_offset) || size.has_all(answer.count) {
            break;
        }
        let marks = marks.take().filter(|_| answer.next_offset > chunk.base);
        let near = marks.map_or(Mark::START, |marks| {
            marks.near((&chunk.messages, chunk.count), answer.next_offset, first)
        });
        let entry = chunk.seek(near, answer.next_offset, first);
        let room = size.less(len, answer.count);
        let (part, is_whole) = chunk.cut_from(entry, answer.next_offset, room, answer.count == 0, first);
        answer.next_offset = part.next_offset;
        answer.count = answer.count.saturating_add(part.count);
        len = len.saturating_add(part.messages.len());
        if !part.messages.is_empty() {
            parts.push((part.messages, chunk.messages.len()));
        }
        if !is_whole {
            break;
        }
    }
    answer.messages = match parts.as_slice() {
        [(entries, whole)] if entries.len() >= whole.saturating_sub(whole / 8) => entries.clone(),
        parts => {
            let mut all = Vec::with_capacity(len);
            parts.iter().for_each(|(entries, _)| all.extend_from_slice(entries));
            Bytes::from(all)
        }
    };
    answer
}

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

#[cfg(test)]
pub(crate) mod tests;
