//! Corrupt batches and their errors.

use super::{
    LIMITS,
    batch::{Batch, Compression, Record, compress, seal, varint},
    concat, invariants,
};

/// `bytes` yield no records, and the error with its causes is `want`.
#[track_caller]
fn check(bytes: &[u8], want: &str) {
    let walk = invariants::check(bytes, 0, &LIMITS, bytes.len() / 2);
    assert_eq!(walk.error.as_deref(), Some(want));
    assert_eq!(walk.messages, []);
}

type Change = fn(&mut Batch);

/// A batch at offset 7 of three records.
fn batch() -> Batch {
    Batch::of_values(7, &["a", "b", "c"])
}

/// Each change makes the batch corrupt, with this cause.
#[track_caller]
fn check_changes(cases: &[(Change, &str)]) {
    for (change, want) in cases {
        let batch = batch().with(change);
        check(&batch.bytes(), &format!("batch at offset {} {want}", batch.base_offset));
    }
}

/// The batch with bytes overwritten before its checksum is computed.
#[track_caller]
fn check_bytes(at: usize, bytes: &[u8], want: &str) {
    let mut batch = batch().bytes();
    batch[at..at + bytes.len()].copy_from_slice(bytes);
    seal(&mut batch);
    check(&batch, &format!("batch at offset 7 is corrupt: {want}"));
}

#[test]
fn other_versions_and_unknown_codecs_are_rejected() {
    check_changes(&[
        (|batch| batch.magic = 3, "has format version 3, only version 2 is supported"),
        (|batch| batch.magic = -1, "has format version -1, only version 2 is supported"),
    ]);
    for codec in [5, 6, 7] {
        let unknown = batch().with(|batch| batch.compression = Compression::Unknown(codec));
        let says = format!("compressed with codec {codec}, only codecs 0 to 4 are supported");
        check(&unknown.bytes(), &format!("batch at offset 7 is {says}"));
    }
}

#[test]
fn length_below_the_header_is_rejected() {
    for len in [-1, i32::MIN, 0, 48_i32] {
        let want = format!("length of {len} bytes is below the 49 of its header");
        check_bytes(8, &len.to_be_bytes(), &want);
    }
}

#[test]
fn flipped_bits_are_detected() {
    let bytes = batch().bytes();
    for bit in 17 * 8..bytes.len() * 8 {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let error = invariants::check(&bytes, 0, &LIMITS, 0).error.unwrap_or_default();
        assert!(error.starts_with("batch at offset 7 is corrupt: checksum is "), "bit {bit}: {error}");
    }
}

#[test]
fn offsets_out_of_range_are_rejected() {
    check_changes(&[
        (|batch| batch.base_offset = -1, "is corrupt: first offset -1 is below 0"),
        (
            |batch| batch.last_offset_delta = Some(-1),
            "is corrupt: last offset, -1 after the first offset 7, is out of range",
        ),
        (
            |batch| batch.base_offset = i64::MAX - 2,
            "is corrupt: last offset, 2 after the first offset 9223372036854775805, is out of range",
        ),
        (
            |batch| batch.last_offset_delta = Some(0),
            "is corrupt: record 0 of 3 has offset delta 0, not within 0 to -2",
        ),
        (
            |batch| batch.records[0].offset_delta = -1,
            "is corrupt: record 0 of 3 has offset delta -1, not within 0 to 0",
        ),
    ]);
}

#[test]
fn offsets_must_increase() {
    let mut batch = Batch::of_values(0, &["a", "b", "c"]).with(|batch| batch.last_offset_delta = Some(9));
    batch.records[2].offset_delta = 1;
    let overlapping = concat(&[Batch::of_values(0, &["a", "b"]), Batch::of_values(1, &["c"])]);
    for (bytes, want) in [
        (batch.bytes(), "batch at offset 0 is corrupt: record 2 of 3 has offset delta 1, not within 2 to 9"),
        (overlapping, "batch at offset 1 is corrupt: first offset 1 is below 2"),
    ] {
        let walk = invariants::check(&bytes, 0, &LIMITS, 0);
        assert_eq!((walk.messages.len(), walk.error.as_deref()), (2, Some(want)));
    }
}

#[test]
fn wrong_record_count_is_rejected() {
    check_changes(&[
        (|batch| batch.record_count = Some(-1), "is corrupt: record count -1 is below 0"),
        (|batch| batch.record_count = Some(0), "is corrupt: 24 bytes are left after the last of 0 records"),
        (|batch| batch.record_count = Some(1), "is corrupt: 16 bytes are left after the last of 1 records"),
        (
            |batch| batch.record_count = Some(4),
            "is corrupt: record 0 of 4 has offset delta 0, not within 0 to -1",
        ),
    ]);
    let count = |batch: &mut Batch| {
        batch.record_count = Some(i32::MAX);
        batch.last_offset_delta = Some(i32::MAX - 1);
    };
    let walk = invariants::check(&batch().with(count).bytes(), 0, &LIMITS, 0);
    let want = "batch at offset 7 is corrupt: record 3 of 2147483647 needs 1 bytes, but only 0 are left";
    assert_eq!((walk.messages.len(), walk.error.as_deref()), (3, Some(want)));
}

#[test]
fn malformed_record_is_rejected_by_index() {
    let mut huge = Vec::new();
    varint(i64::from(i32::MAX), &mut huge);
    for (bytes, want) in [
        (&[0xFF, 0xFF, 0xFF, 0xFF, 0x0E][..], "has a length of -2013265920, below 0"),
        (&[0xFF; 6], "has a number beyond 32 bits"),
        (&huge, "needs 2147483647 bytes, but only 19 are left"),
    ] {
        check_bytes(61, bytes, &format!("record 0 of 3 {want}"));
    }
}

#[test]
fn invalid_compressed_data_is_rejected() {
    for (compression, name) in [
        (Compression::Gzip, "gzip"),
        (Compression::SnappyRaw, "snappy"),
        (Compression::Lz4, "lz4"),
        (Compression::Zstd, "zstd"),
    ] {
        let batch = Batch { compression, record_count: Some(1), ..Batch::default() };
        let bytes = batch.bytes_around(&[0xFF; 24]);
        let error = invariants::check(&bytes, 0, &LIMITS, 0).error.unwrap_or_default();
        let want =
            format!("batch at offset 0 is corrupt: its 24 bytes of {name} data cannot be decompressed: ");
        assert!(error.starts_with(&want), "{error}");
    }
}

#[test]
fn truncated_compressed_data_is_rejected_or_complete() {
    let mut records = Vec::new();
    for offset_delta in 0..3 {
        Record { offset_delta, value: Some(vec![b'v'; 50]), ..Record::default() }.write(&mut records);
    }
    for compression in super::batch::COMPRESSIONS {
        let stored = compress(compression, &records);
        let batch =
            Batch { compression, record_count: Some(3), last_offset_delta: Some(2), ..Batch::default() };
        for cut in 0..stored.len() {
            let walk = invariants::check(&batch.bytes_around(&stored[..cut]), 0, &LIMITS, 0);
            // Of lz4 only the end mark may be missed, and the checksum covers that.
            let lz4 = matches!(compression, Compression::Lz4 | Compression::Lz4Linked);
            let complete = lz4 && walk.messages.len() == 3;
            assert!(complete || walk.error.is_some(), "{compression:?} cut at byte {cut}: {walk:?}");
        }
    }
}
