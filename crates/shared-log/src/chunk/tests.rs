//! Answers made of chunks, beside a list of entries.

use proptest::prelude::*;

use super::*;
use crate::marks::Entry;

/// An entry: its position, and a filler of `len` bytes.
pub(crate) fn chunk(base: i64, next: i64, entries: &[(i64, usize)]) -> Chunk {
    let mut bytes = Vec::new();
    for (position, len) in entries {
        bytes.extend_from_slice(&position.to_be_bytes());
        bytes.extend_from_slice(&u32::try_from(*len).unwrap().to_be_bytes());
        bytes.extend(std::iter::repeat_n(0xAB, *len));
    }
    let (messages, count) = (Bytes::from(bytes), entries.len());
    Chunk { base, messages, count, next_offset: next, ends: Ends::UNKNOWN }
}

pub(crate) fn first(bytes: &[u8]) -> Option<Entry> {
    let position = i64::from_be_bytes(*bytes.first_chunk()?);
    let len = u32::from_be_bytes(*bytes.get(8..)?.first_chunk()?) as usize;
    Some(Entry { position, len: len + 12 })
}

pub(crate) fn positions(chunk: &Chunk) -> Vec<i64> {
    let (mut rest, mut positions) = (&chunk.messages[..], Vec::new());
    while let Some(entry) = first(rest) {
        positions.push(entry.position);
        rest = &rest[entry.len..];
    }
    assert!(rest.is_empty());
    assert_eq!(positions.len(), chunk.count);
    positions
}

#[test]
fn whole_chunk_is_shared_and_a_small_part_copied() {
    let chunk = chunk(0, 10, &[(0, 100), (1, 100), (2, 100), (3, 5)]);
    let of = |position| assemble(std::slice::from_ref(&chunk), position, AnswerSize::of_bytes(1000), first);
    let (whole, part) = (of(0), of(3));
    assert_eq!((whole.base, whole.next_offset, positions(&whole)), (0, 10, vec![0, 1, 2, 3]));
    assert_eq!(whole.messages.as_ptr(), chunk.messages.as_ptr());
    assert_eq!(positions(&part), [3]);
    let shared = chunk.messages.as_ptr_range();
    assert!(!shared.contains(&part.messages.as_ptr()), "a small answer must not hold a whole chunk");
}

#[test]
fn appended_entries_fit_or_are_left_out() {
    let (front, back) = (chunk(0, 2, &[(0, 10), (1, 10)]), chunk(1, 5, &[(1, 10), (3, 10), (4, 10)]));
    assert_eq!([&front, &back].map(|chunk| chunk.has_gap_from(chunk.base)), [false, true]);
    for (bytes, want, next, whole) in
        [(1000, &[0, 1, 3, 4][..], 5, true), (66, &[0, 1, 3], 4, false), (50, &[0, 1], 2, false)]
    {
        let (longer, is_whole) = front.append(&back, AnswerSize::of_bytes(bytes), first);
        assert_eq!((&positions(&longer)[..], longer.next_offset, is_whole), (want, next, whole));
    }
}

#[test]
fn malformed_entries_end_the_answer() {
    let chunk = Chunk { messages: Bytes::from_static(b"short"), ..chunk(0, 5, &[(0, 1)]) };
    assert_eq!(assemble(&[chunk], 2, AnswerSize::of_bytes(1000), first).next_offset, 5);
}

proptest! {
    /// A walk over any split of a log into chunks gives each entry once, in order, however large its answers are.
    #[test]
    fn walk_gives_each_entry_once(
        steps in proptest::collection::vec((1_i64..4, 0_usize..40, any::<bool>()), 1..60),
        max_bytes in 1_usize..200,
        max_entries in 0_usize..5,
        start in 0_i64..30,
    ) {
        let (mut chunks, mut entries, mut base, mut position) = (Vec::new(), Vec::new(), 0, 0);
        let mut all = Vec::new();
        for (gap, len, ends) in steps {
            position += gap;
            entries.push((position, len));
            all.push(position);
            if ends {
                chunks.push(chunk(base, position + 1, &std::mem::take(&mut entries)));
                base = position + 1;
            }
        }
        chunks.push(chunk(base, position + 1, &entries));
        let (mut walked, mut next) = (Vec::new(), start);
        while next <= position {
            let from = chunks.iter().position(|chunk| chunk.covers(next)).unwrap();
            let size = AnswerSize { bytes: max_bytes, entries: max_entries };
            let answer = assemble(&chunks[from..], next, size, first);
            prop_assert!(answer.next_offset > next);
            prop_assert!(answer.messages.len() <= max_bytes || answer.count == 1);
            prop_assert!(answer.count <= max_entries || max_entries == 0);
            walked.extend(positions(&answer));
            next = answer.next_offset;
        }
        all.retain(|position| *position >= start);
        prop_assert_eq!(walked, all);
    }
}

#[test]
fn parts_are_read_as_the_whole_was() {
    let entries: Vec<(i64, usize)> = (0..100).map(|position| (position * 3, 50)).collect();
    let whole = chunk(0, 400, &entries);
    for max_bytes in [1, 62, 500, 1_000, 3_000, 5_000, 6_200, 10_000] {
        let parts = whole.clone().split(max_bytes, first);
        let mut next = whole.base;
        for part in &parts {
            assert_eq!(part.base, next);
            assert!(part.messages.len() <= max_bytes.max(62));
            next = part.next_offset;
        }
        let read: Vec<i64> = parts.iter().flat_map(positions).collect();
        let rest = whole.count - read.len();
        assert_eq!(read, positions(&whole)[..read.len()]);
        assert!(rest * 62 < max_bytes.max(2) / 2, "{rest} entries are left out of parts of {max_bytes}");
        assert!(rest > 0 || next == whole.next_offset, "the gap at the end is part of the last one");
    }
}
