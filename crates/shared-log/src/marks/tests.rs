//! Reads in the middle of a chunk, beside the same without marks.

use std::cell::Cell;
use std::slice::from_ref;
use std::time::{Duration, Instant};

use super::*;
use crate::chunk::tests::{chunk, first, positions};
use crate::chunk::{assemble, assemble_marked};
use crate::marks::Entry;
use crate::{AnswerSize, Limits, LogKey, SharedLog};

thread_local! {
    static PASSED: Cell<usize> = const { Cell::new(0) };
}

fn counted(bytes: &[u8]) -> Option<Entry> {
    PASSED.set(PASSED.get() + 1);
    first(bytes)
}

#[test]
fn read_in_the_middle_passes_few_entries() {
    // Every third position has an entry.
    let entries: Vec<_> = (0..5000).map(|number| (number * 3, 1)).collect();
    let chunk = chunk(0, 15_010, &entries);
    let marks = Marks::default();
    for position in (0..15_010).rev().step_by(7).chain([0, 1, 3, 768, 769]) {
        let want = assemble(from_ref(&chunk), position, AnswerSize::of_bytes(1 << 20), first);
        PASSED.set(0);
        let found =
            assemble_marked(from_ref(&chunk), Some(&marks), position, AnswerSize::of_bytes(1 << 20), counted);
        assert_eq!((positions(&found), found), (positions(&want), want), "from {position}");
        // The first read makes the marks.
        assert!(position == 15_009 || PASSED.get() <= EVERY + 1, "{} from {position}", PASSED.get());
    }
}

#[test]
fn kept_chunks_are_read_by_the_marks_of_the_first() {
    let logs = SharedLog::new(Limits { max_bytes: 1 << 20, max_age: Duration::from_secs(60) }).add_cluster();
    let key = LogKey { topic: "t".into(), incarnation: 1, partition: 0, committed: false };
    let now = Instant::now();
    for (base, len) in [(0, 1), (1000, 7)] {
        let entries: Vec<_> = (base..base + 1000).map(|position| (position, len)).collect();
        logs.insert(&key, 1, chunk(base, base + 1000, &entries), now);
    }
    for _ in 0..2 {
        PASSED.set(0);
        // The answer needs both.
        let found = logs.read(&key, 1, 700, AnswerSize::of_bytes(1 << 16), counted, now).unwrap();
        assert_eq!(positions(&found), (700..2000).collect::<Vec<_>>());
    }
    assert!(PASSED.get() <= EVERY + 2, "{} by the second read", PASSED.get());
}
