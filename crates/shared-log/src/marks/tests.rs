//! Reads in the middle of a chunk, beside the same without marks.

use std::cell::Cell;
use std::slice::from_ref;

use super::*;
use crate::chunk::tests::{chunk, first, positions};
use crate::chunk::{Entry, assemble, assemble_marked};

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
        let want = assemble(from_ref(&chunk), position, 1 << 20, first);
        PASSED.set(0);
        let found = assemble_marked(from_ref(&chunk), Some(&marks), position, 1 << 20, counted);
        assert_eq!((positions(&found), found), (positions(&want), want), "from {position}");
        // The first read makes the marks.
        assert!(position == 15_009 || PASSED.get() <= EVERY + 1, "{} from {position}", PASSED.get());
    }
}
