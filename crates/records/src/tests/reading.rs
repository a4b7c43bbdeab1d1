//! Valid batches: the records with their offsets, timestamps, keys and values.

use super::{
    LIMITS,
    batch::{Batch, COMPRESSIONS, Compression, DELETE_HORIZON},
    concat, expected, invariants,
};

/// Reads `batches` from every offset, and truncated at every byte.
#[track_caller]
fn check(batches: &[Batch]) {
    let bytes = concat(batches);
    let first = batches.first().map_or(0, |batch| batch.base_offset);
    let end = batches.last().map_or(0, Batch::next_offset);
    for from in first..=end {
        let walk = invariants::check(&bytes, from, &LIMITS, bytes.len() / 2);
        assert_eq!(walk.messages, expected(batches, from), "from offset {from}");
        assert_eq!((walk.next_offset, walk.truncated, walk.error), (end, None, None), "from offset {from}");
    }
    for cut in 0..bytes.len() {
        let walk = invariants::check_cut(&bytes, first, &LIMITS, cut);
        assert_eq!(walk.error, None, "cut at byte {cut}");
    }
}

fn two_batches(compression: Compression) -> Vec<Batch> {
    let of = |base_offset, values: &[&str]| {
        Batch::of_values(base_offset, values).with(|batch| batch.compression = compression)
    };
    vec![of(5, &["a", "b", "c"]), of(8, &["d", "", "f"])]
}

#[test]
fn every_codec_is_read_from_every_offset_and_cut() {
    for compression in COMPRESSIONS {
        check(&two_batches(compression));
    }
}

#[test]
fn records_larger_than_a_codecs_block_are_read() {
    let large = "0123456789".repeat(20_000);
    for compression in COMPRESSIONS {
        let batch =
            Batch::of_values(0, &["small", &large, "small"]).with(|batch| batch.compression = compression);
        let walk = invariants::check(&batch.bytes(), 0, &LIMITS, 1000);
        assert_eq!(walk.messages, expected(&[batch], 0), "{compression:?}");
    }
}

#[test]
fn offsets_and_timestamps_of_every_size_are_read() {
    for base_offset in [0, 1, 127, 128, i64::from(u32::MAX), i64::MAX - 4] {
        for base_timestamp in [-1, 0, 1, i64::MIN, i64::MAX - 2] {
            check(&[Batch::of_values(base_offset, &["a", "b", "c"])
                .with(|batch| batch.base_timestamp = base_timestamp)]);
        }
    }
    let mut batch = Batch::of_values(0, &["a"]).with(|batch| batch.base_timestamp = i64::MAX);
    batch.records[0].timestamp_delta = 1;
    let walk = invariants::check(&batch.bytes(), 0, &LIMITS, 0);
    assert_eq!(walk.messages[0].timestamp, i64::MIN, "an overflow wraps");
}

#[test]
fn unknown_attributes_and_empty_input_are_no_error() {
    check(&[Batch::of_values(0, &["a"]).with(|batch| batch.attributes = DELETE_HORIZON | 0xFF00)]);
    let walk = invariants::check(&[], 42, &LIMITS, 0);
    assert_eq!((walk.next_offset, walk.truncated, walk.error), (42, None, None));
}

#[test]
fn truncated_batch_reports_its_size() {
    let batches = two_batches(Compression::None);
    let (bytes, first_size) = (concat(&batches), batches[0].bytes().len());
    let needs = |cut: usize| invariants::walk(&bytes[..cut], 0, &LIMITS).truncated;
    assert_eq!(needs(first_size), None);
    assert_eq!(needs(first_size + 1), Some(61));
    assert_eq!(needs(first_size + 16), Some(61));
    assert_eq!(needs(first_size + 17), Some(bytes.len() - first_size));
    assert_eq!(needs(bytes.len() - 1), Some(bytes.len() - first_size));
}
