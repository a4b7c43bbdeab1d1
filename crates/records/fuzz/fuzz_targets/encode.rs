//! Any bytes, any offset, any limits: the invariants of the tests hold.
//!
//! `cargo +nightly fuzz run encode fuzz/corpus tests/fixtures -- -max_total_time=10` in `crates/records`.

#![no_main]

#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../../tests/records/batch.rs"]
mod batch;
#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../../tests/records/invariants.rs"]
mod invariants;

use libfuzzer_sys::fuzz_target;
use sluicegate_records::Limits;

// The last bytes of the input say how it is read, so that a log segment is an input as it is.
fuzz_target!(|input: &[u8]| {
    let Some((records, &[from, a, b, c, d, e, f, cut])) = input.split_last_chunk() else { return };
    let [max_bytes, max_record_bytes, max_batch_bytes] =
        [[a, b], [c, d], [e, f]].map(|bytes| usize::from(u16::from_le_bytes(bytes)));
    let limits = Limits { max_bytes, max_record_bytes, max_batch_bytes };
    let cut = records.len() * usize::from(cut) / 255;
    let first = records.first_chunk().map_or(0, |offset| i64::from_be_bytes(*offset));
    let from = first.saturating_add(from.into());
    invariants::check(records, from, &limits, cut);
    let mut sealed = records.to_vec();
    batch::seal(&mut sealed);
    invariants::check(&sealed, from, &limits, cut);
});
