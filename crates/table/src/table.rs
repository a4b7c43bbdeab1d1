//! The newest entry of each key.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Slot;

use crate::segment::Segment;

/// The newest entry of each key of a log, as far as the log was read.
///
/// Memory: the entries, up to twice as much until segments are rewritten, and about 40 bytes for each key.
#[derive(Debug)]
pub struct Table {
    first: FirstEntry,
    /// By the position of their first entry. They are never empty.
    segments: BTreeMap<i64, Segment>,
    keys: HashTable<Place>,
    hasher: RandomState,
    /// The position up to which the log was read.
    next: i64,
    /// Entries without a key.
    skipped: u64,
    /// The memory of all segments.
    memory: usize,
    /// The bytes of one segment, or one larger entry.
    segment_bytes: usize,
}

/// An encoded record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its position in the log.
    pub position: i64,
    /// Its encoded size in bytes.
    pub len: usize,
    /// None: it is no part of a table.
    pub key: Option<&'a [u8]>,
    /// Whether the key has no value from then on.
    pub removes: bool,
}

/// The first of some encoded entries; None if there is none, or it is malformed.
pub type FirstEntry = fn(&[u8]) -> Option<Entry<'_>>;

/// Some of the newest entries, in the order of the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// The entries, one after the other.
    pub entries: Vec<u8>,
    /// The number of entries.
    pub count: usize,
    /// The position to go on from: the end, if there are no more.
    pub next: i64,
}

/// The place of a key's newest entry: its segment, and its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    segment: i64,
    number: u32,
    /// Of the key: most entries need not be read to know that theirs is another one.
    hash: KeyHash,
}

/// The hash of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct KeyHash(u32);

impl KeyHash {
    fn of(hasher: &RandomState, key: &[u8]) -> Self {
        Self(u32::try_from(hasher.hash_one(key) >> 32).unwrap_or(0))
    }

    /// The same in all bits that a hash table looks at.
    fn spread(self) -> u64 {
        u64::from(self.0).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

impl Table {
    /// A table of a log that is read from `start` on.
    pub fn new(start: i64, first: FirstEntry) -> Self {
        Self {
            first,
            segments: BTreeMap::new(),
            keys: HashTable::new(),
            hasher: RandomState::new(),
            next: start,
            skipped: 0,
            memory: 0,
            segment_bytes: SEGMENT_BYTES,
        }
    }

    /// Takes the next entries of the log. Those that it has already are passed over. It is then read up to `next`.
    pub fn apply(&mut self, entries: &[u8], next: i64) {
        let mut rest = entries;
        while let Some(entry) = (self.first)(rest) {
            let Some((encoded, after)) = rest.split_at_checked(entry.len) else { break };
            if entry.position >= self.next {
                self.next = entry.position.saturating_add(1);
                self.put(entry, encoded);
            }
            rest = after;
        }
        self.next = self.next.max(next);
    }

    fn put(&mut self, entry: Entry<'_>, encoded: &[u8]) {
        let Some(key) = entry.key else {
            self.skipped = self.skipped.saturating_add(1);
            return;
        };
        let hash = KeyHash::of(&self.hasher, key);
        if entry.removes {
            if let Some(place) = self.take(hash, key) {
                self.kill(place);
            }
            return;
        }
        let Some((segment, number)) = self.push(entry.position, encoded) else { return };
        let place = Place { segment, number, hash };
        let (segments, first) = (&self.segments, self.first);
        let is_same = |known: &Place| has_key(segments, first, *known, hash, key);
        match self.keys.entry(hash.spread(), is_same, |place| place.hash.spread()) {
            Slot::Occupied(mut known) => {
                let before = std::mem::replace(known.get_mut(), place);
                self.kill(before);
            }
            Slot::Vacant(vacant) => {
                vacant.insert(place);
            }
        }
    }

    /// Appends to the last segment, or to a new one. Gives that one, and the entry's number there.
    fn push(&mut self, position: i64, encoded: &[u8]) -> Option<(i64, u32)> {
        let last = self.segments.last_entry().filter(|last| {
            let len = last.get().len();
            len == 0 || len.saturating_add(encoded.len()) <= self.segment_bytes
        });
        let (base, segment) = match last {
            Some(last) => (*last.key(), last.into_mut()),
            None => {
                if let Some(mut full) = self.segments.last_entry() {
                    let before = full.get().memory();
                    full.get_mut().shrink();
                    self.memory = self.memory.saturating_sub(before).saturating_add(full.get().memory());
                }
                (position, self.segments.entry(position).or_default())
            }
        };
        let before = if segment.len() == 0 { 0 } else { segment.memory() };
        let number = segment.push(encoded)?;
        self.memory = self.memory.saturating_sub(before).saturating_add(segment.memory());
        Some((base, number))
    }

    /// Removes a key. Gives the place of its entry.
    fn take(&mut self, hash: KeyHash, key: &[u8]) -> Option<Place> {
        let (segments, first) = (&self.segments, self.first);
        let is_same = |known: &Place| has_key(segments, first, *known, hash, key);
        Some(self.keys.find_entry(hash.spread(), is_same).ok()?.remove().0)
    }

    /// Marks an entry as dead, and frees its memory once that is worth it.
    fn kill(&mut self, Place { segment: base, number, .. }: Place) {
        // The last one takes further entries, and is rewritten less often.
        let is_last = self.segments.last_key_value().is_some_and(|(last, _)| *last == base);
        let least = if is_last { self.segment_bytes / 16 } else { 0 };
        let Some(segment) = self.segments.get_mut(&base) else { return };
        segment.kill(number);
        if segment.is_dead_as_a_whole() {
            self.remove(base);
        } else if segment.is_worth_a_rewrite(least) {
            self.rewrite(base);
        }
    }

    fn remove(&mut self, base: i64) -> Option<Segment> {
        let segment = self.segments.remove(&base)?;
        self.memory = self.memory.saturating_sub(segment.memory());
        Some(segment)
    }

    /// Copies the live entries of a segment: behind those of the one before it if there is room, so that segments do not
    /// become many small ones.
    fn rewrite(&mut self, base: i64) {
        let Some(old) = self.remove(base) else { return };
        let room = |before: &Segment| before.len().saturating_add(old.live_bytes()) <= self.segment_bytes;
        let before = self.segments.range(..base).next_back().filter(|(_, before)| room(before));
        let into = before.map_or(base, |(base, _)| *base);
        let mut segment = self.remove(into).unwrap_or_default();
        for (number, entry) in old.live(0) {
            let Some(key) = (self.first)(entry).and_then(|entry| entry.key) else { continue };
            let Some(moved) = segment.push(entry) else { continue };
            let hash = KeyHash::of(&self.hasher, key);
            let old = Place { segment: base, number, hash };
            if let Some(place) = self.keys.find_mut(hash.spread(), |place| *place == old) {
                *place = Place { segment: into, number: moved, hash };
            }
        }
        segment.shrink();
        self.memory = self.memory.saturating_add(segment.memory());
        self.segments.insert(into, segment);
    }

    /// The newest entry of a key.
    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        let hash = KeyHash::of(&self.hasher, key);
        let is_same = |known: &Place| has_key(&self.segments, self.first, *known, hash, key);
        let place = self.keys.find(hash.spread(), is_same)?;
        self.segments.get(&place.segment)?.entry(place.number)
    }

    /// The newest entries of all keys from a position on and before `end`: as many as fit in `max_bytes`, but one at
    /// least, and at most `max_count`. A key whose newest entry is behind `end` is left out.
    pub fn page(&self, from: i64, end: i64, max_bytes: usize, max_count: usize) -> Page {
        let mut page = Page { next: end, ..Page::default() };
        let position = |entry: &[u8]| (self.first)(entry).map_or(i64::MAX, |entry| entry.position);
        let begin = self.segments.range(..=from).next_back().map_or(from, |(base, _)| *base);
        for (base, segment) in self.segments.range(begin..) {
            let number =
                if *base < from { segment.partition_point(|entry| position(entry) < from) } else { 0 };
            for (_, entry) in segment.live(number) {
                let position = position(entry);
                let is_full = page.count >= max_count
                    || page.count > 0 && page.entries.len().saturating_add(entry.len()) > max_bytes;
                if position >= end || is_full {
                    page.next = position.min(end);
                    return page;
                }
                page.entries.extend_from_slice(entry);
                page.count = page.count.saturating_add(1);
            }
        }
        page
    }

    /// Removes the entries before the log's start, which the log has lost.
    pub fn remove_before(&mut self, start: i64) {
        while self.remove_from_first(start).is_some() {}
        self.next = self.next.max(start);
    }

    /// Removes the entries of the first segment that are before `start`. None: others are left there.
    fn remove_from_first(&mut self, start: i64) -> Option<()> {
        let (base, segment) = self.segments.first_key_value()?;
        let base = *base;
        let found = |(number, entry): (u32, &[u8])| {
            let entry = (self.first)(entry).filter(|entry| entry.position < start)?;
            Some((number, KeyHash::of(&self.hasher, entry.key?)))
        };
        let lost: Vec<(u32, KeyHash)> = segment.live(0).map_while(found).collect();
        let segment = self.segments.get_mut(&base)?;
        for (number, hash) in lost {
            let place = Place { segment: base, number, hash };
            if let Ok(known) = self.keys.find_entry(hash.spread(), |known| *known == place) {
                known.remove();
            }
            segment.kill(number);
        }
        if segment.is_dead_as_a_whole() {
            self.remove(base)?;
            return Some(());
        }
        if segment.is_worth_a_rewrite(0) {
            self.rewrite(base);
        }
        None
    }

    /// The position up to which the log was read.
    pub fn next(&self) -> i64 {
        self.next
    }

    /// The number of keys.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether it has no key.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The number of entries without a key that were passed over.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Its memory in bytes.
    pub fn memory(&self) -> usize {
        self.memory.saturating_add(self.keys.allocation_size()).saturating_add(size_of::<Self>())
    }
}

fn has_key(
    segments: &BTreeMap<i64, Segment>,
    first: FirstEntry,
    place: Place,
    hash: KeyHash,
    key: &[u8],
) -> bool {
    let entry = || first(segments.get(&place.segment)?.entry(place.number)?);
    place.hash == hash && entry().and_then(|entry| entry.key) == Some(key)
}

/// The bytes of one segment.
const SEGMENT_BYTES: usize = 1024 * 1024;

#[cfg(test)]
mod tests;
