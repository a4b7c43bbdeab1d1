//! Consecutive entries of one log, and answers made of them.

use bytes::Bytes;

use crate::answer_size::AnswerSize;
use crate::entry::FirstEntry;
use crate::marks::{Mark, Marks};

/// Encoded entries of a log from one position up to another. Clones share the entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// The position of the first entry, or one before it: the log has no entry in between.
    pub base: i64,
    /// The position to read on from. At least `base`; the log has no entry between the last one and it.
    pub next: i64,
    /// The entries, one after the other.
    pub entries: Bytes,
    /// The number of entries.
    pub count: usize,
    /// The ends of the log when the entries were read.
    pub ends: Ends,
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
    pub fn empty(base: i64, ends: Ends) -> Self {
        Self { base, next: base, entries: Bytes::new(), count: 0, ends }
    }

    /// Appends the entries of `more`, which begin at [`Chunk::next`] or before it, as far as all fit in `size`, in which
    /// there is room for one more at least. The second value is false if some do not fit.
    pub(crate) fn append(&self, more: &Self, size: AnswerSize, first: FirstEntry) -> (Self, bool) {
        let room = size.less(self.entries.len(), self.count);
        let (part, is_whole) = more.cut(self.next, room, self.count == 0, first);
        let entries = if self.entries.is_empty() {
            part.entries
        } else {
            [&*self.entries, &*part.entries].concat().into()
        };
        let count = self.count.saturating_add(part.count);
        let next = part.next.max(self.next);
        (Self { base: self.base, next, entries, count, ends: self.ends.merge(more.ends) }, is_whole)
    }

    /// Whether a reader who waits for `min_bytes`, or for `max_entries` (0: any number), has to wait for more.
    pub(crate) fn is_too_small(&self, min_bytes: usize, max_entries: usize) -> bool {
        let has_all = max_entries > 0 && self.count >= max_entries;
        self.entries.len() < min_bytes.max(1) && !has_all
    }

    /// The chunk in parts of at most `max_bytes`, but one entry at least, each with memory of its own. After a single
    /// part, a rest of less than half a part is left out: to request it again costs less than many small answers.
    pub(crate) fn split(self, max_bytes: usize, first: FirstEntry) -> Vec<Self> {
        if self.entries.len() <= max_bytes {
            return vec![self];
        }
        let (mut parts, mut rest) = (Vec::new(), self);
        loop {
            let (part, is_whole) = rest.cut(rest.base, AnswerSize::of_bytes(max_bytes), true, first);
            let is_short = is_whole && part.entries.len() < max_bytes / 2;
            if part.count == 0 || is_short && parts.len() == 1 {
                return parts;
            }
            let entries = rest.entries.split_off(part.entries.len());
            let count = rest.count.saturating_sub(part.count);
            rest = Self { base: part.next, entries, count, ..rest };
            parts.push(Self { entries: Bytes::copy_from_slice(&part.entries), ..part });
            if is_whole {
                return parts;
            }
        }
    }

    /// Whether the chunk tells which entry comes first at `position` or after it.
    pub fn covers(&self, position: i64) -> bool {
        (self.base..self.next).contains(&position)
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
        let count = self.count.saturating_sub(before);
        // A malformed entry can reach beyond the end.
        let rest = self.entries.slice(start.min(self.entries.len())..);
        if size.fits(rest.len(), count) {
            return (Self { base: position, next: self.next, entries: rest, count, ends: self.ends }, true);
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
        let next = if is_whole { self.next } else { next };
        let entries = rest.slice(..end.min(rest.len()));
        (Self { base: position, next, entries, count: taken, ends: self.ends }, is_whole)
    }

    /// The first entry at or after `position`, which is looked for from `mark` on.
    fn seek(&self, mark: Mark, position: i64, first: FirstEntry) -> Mark {
        let mut found = mark;
        if position <= self.base {
            return found;
        }
        while let Some(entry) = self.entries.get(found.start..).and_then(first) {
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
    let mut answer = Chunk::empty(position, ends);
    let mut parts: Vec<(Bytes, usize)> = Vec::new();
    let mut len = 0_usize;
    for chunk in chunks {
        if !chunk.covers(answer.next) || size.has_all(answer.count) {
            break;
        }
        let marks = marks.take().filter(|_| answer.next > chunk.base);
        let near =
            marks.map_or(Mark::START, |marks| marks.near((&chunk.entries, chunk.count), answer.next, first));
        let entry = chunk.seek(near, answer.next, first);
        let room = size.less(len, answer.count);
        let (part, is_whole) = chunk.cut_from(entry, answer.next, room, answer.count == 0, first);
        answer.next = part.next;
        answer.count = answer.count.saturating_add(part.count);
        len = len.saturating_add(part.entries.len());
        if !part.entries.is_empty() {
            parts.push((part.entries, chunk.entries.len()));
        }
        if !is_whole {
            break;
        }
    }
    answer.entries = match parts.as_slice() {
        [(entries, whole)] if entries.len() >= whole.saturating_sub(whole / 8) => entries.clone(),
        parts => {
            let mut all = Vec::with_capacity(len);
            parts.iter().for_each(|(entries, _)| all.extend_from_slice(entries));
            Bytes::from(all)
        }
    };
    answer
}

#[cfg(test)]
pub(crate) mod tests;
