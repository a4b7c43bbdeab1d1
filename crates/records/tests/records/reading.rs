//! Valid batches: the records with their offsets, timestamps, keys and values.

use crate::{
    LIMITS,
    batch::{
        Batch, COMPRESSIONS, CONTROL, Compression, DELETE_HORIZON, LOG_APPEND_TIME, Record, TRANSACTIONAL,
    },
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
fn null_and_empty_keys_and_values_and_headers_are_read() {
    let header = |value: Option<&str>| (b"name".to_vec(), value.map(|value| value.as_bytes().to_vec()));
    let record = |offset_delta, key: Option<&str>, value: Option<&str>| Record {
        offset_delta,
        timestamp_delta: -i64::from(offset_delta),
        key: key.map(|key| key.as_bytes().to_vec()),
        value: value.map(|value| value.as_bytes().to_vec()),
        headers: [header(None), header(Some("")), header(Some("x"))][..offset_delta as usize].to_vec(),
    };
    let records = vec![
        record(0, None, None),
        record(1, Some(""), Some("")),
        record(2, Some("key"), None),
        record(3, None, Some("value")),
    ];
    check(&[Batch { records, ..Batch::default() }]);
}

#[test]
fn offsets_and_timestamps_of_every_size_are_read() {
    for base_offset in [0, 1, 127, 128, i64::from(u32::MAX), i64::MAX - 4] {
        for base_timestamp in [-1, 0, 1, i64::MIN, i64::MAX - 2] {
            check(&[Batch::of_values(base_offset, &["a", "b", "c"])
                .with(|batch| batch.base_timestamp = base_timestamp)]);
        }
    }
}

#[test]
fn timestamp_overflow_wraps() {
    let mut batch = Batch::of_values(0, &["a"]).with(|batch| batch.base_timestamp = i64::MAX);
    batch.records[0].timestamp_delta = 1;
    let walk = invariants::check(&batch.bytes(), 0, &LIMITS, 0);
    assert_eq!(walk.messages[0].timestamp, i64::MIN);
}

#[test]
fn log_append_time_applies_to_every_record() {
    let mut batch = Batch::of_values(0, &["a", "b"]).with(|batch| batch.attributes = LOG_APPEND_TIME);
    batch.records[1].timestamp_delta = 77;
    check(&[batch]);
}

#[test]
fn control_batches_are_skipped() {
    let batch = |base_offset, attributes| {
        Batch::of_values(base_offset, &["x"]).with(|batch| batch.attributes = attributes)
    };
    let marker = TRANSACTIONAL | CONTROL;
    check(&[batch(0, TRANSACTIONAL), batch(1, marker), batch(2, TRANSACTIONAL), batch(3, marker)]);
    check(&[batch(0, marker), batch(1, marker), batch(2, 0)]);
}

#[test]
fn delete_horizon_and_unknown_attributes_are_ignored() {
    check(&[Batch::of_values(0, &["a"]).with(|batch| batch.attributes = DELETE_HORIZON | 0xFF00)]);
}

#[test]
fn compacted_ranges_are_skipped() {
    let emptied = |base_offset| Batch { base_offset, last_offset_delta: Some(9), ..Batch::default() };
    let mut holes = Batch::of_values(20, &["a", "b"]).with(|batch| batch.last_offset_delta = Some(9));
    holes.records[0].offset_delta = 3;
    holes.records[1].offset_delta = 7;
    check(&[emptied(0)]);
    check(&[emptied(0), emptied(10), holes.clone(), emptied(30)]);
    check(&[emptied(0), holes, Batch::of_values(100, &["after a gap"])]);
    check(&[emptied(0).with(|batch| batch.compression = Compression::Gzip)]);
}

#[test]
fn empty_input_has_no_records() {
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
