//! Inputs of the corpora, and their neighbours: cut at every byte, with every byte changed, and with the rest of another.

#![expect(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests fail loudly")]

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::thread;

use bytes::Bytes;
use sluicegate_fuzz::{TARGETS, Target};
use sluicegate_reader::testing;

#[test]
fn corpora_and_what_is_near_them_keep_every_promise() {
    thread::scope(|scope| {
        for (name, target) in TARGETS {
            scope.spawn(move || check(name, target));
        }
    });
}

/// Answers that are refused in their first bytes would try nothing.
#[test]
fn each_request_has_an_answer_that_is_decoded() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/kafka_answers");
    let mut decoded = BTreeSet::new();
    for file in fs::read_dir(folder).expect("the corpus") {
        let input = fs::read(file.expect("a file").path()).expect("an input");
        if let Some((&[request @ 0..19, version], answer)) = input.split_first_chunk()
            && testing::answer(request, version, &Bytes::copy_from_slice(answer))
        {
            decoded.insert(request);
        }
    }
    assert_eq!(decoded, (0..19).collect());
}

#[test]
fn document_lists_every_target() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/explanation/fuzzing.md");
    let page = fs::read_to_string(page).expect("the page");
    let rows: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    assert_eq!(rows, TARGETS.map(|(name, _)| name));
}

fn check(name: &str, target: Target) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    let inputs: Vec<_> = paths.iter().map(|path| fs::read(path).expect("an input")).collect();
    assert!(!inputs.is_empty(), "{name} has no corpus");
    for (path, input) in paths.iter().zip(&inputs) {
        let run = |input: &[u8]| {
            let kept = catch_unwind(AssertUnwindSafe(|| target(input)));
            assert!(kept.is_ok(), "{name}, near {}: {}", path.display(), input.escape_ascii());
        };
        run(input);
        if input.len() > NEARBY {
            continue;
        }
        for at in 0..input.len() {
            run(&input[..at]);
            let mut changed = input.clone();
            changed[at] ^= [0x01, 0x7F, 0x80, 0xFF][at % 4];
            run(&changed);
        }
        for other in inputs.iter().filter(|other| other.len() <= NEARBY) {
            run(&[&input[..input.len() / 2], &other[other.len() / 2..]].concat());
        }
    }
}

/// The longest input, in bytes, whose neighbours are run.
const NEARBY: usize = 600;
