//! The invariants of the tests, for inputs of libFuzzer.
//!
//! `cargo +nightly fuzz run encode fuzz/corpus tests/fixtures -- -max_total_time=10` in `crates/records`.

#![no_main]

#[expect(dead_code, reason = "the tests use the rest")]
#[path = "../../tests/records/batch.rs"]
mod batch;
#[expect(dead_code, reason = "the tests use the rest")]
#[path = "../../tests/records/invariants.rs"]
mod invariants;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| invariants::check_input(input));
