//! Messages in formats older than record batches: they are errors, and do not hide readable records.

use sluicegate_records::{Encoder, RecordsError};

use super::{
    LIMITS,
    batch::Batch,
    expected,
    invariants::{self, Walk},
};

/// A message of `magic` 0 or 1, as the protocol guide has it ("Old Message Format").
fn message(offset: i64, magic: i8) -> Vec<u8> {
    let mut covered = vec![magic.cast_unsigned(), 0];
    if magic == 1 {
        covered.extend(1_400_000_000_000_i64.to_be_bytes());
    }
    covered.extend((-1_i32).to_be_bytes()); // no key
    covered.extend(5_i32.to_be_bytes());
    covered.extend(b"value");
    let mut crc = flate2::Crc::new();
    crc.update(&covered);
    let mut bytes = offset.to_be_bytes().to_vec();
    bytes.extend((covered.len() as i32 + 4).to_be_bytes());
    bytes.extend(crc.sum().to_be_bytes());
    bytes.extend(covered);
    bytes
}

fn messages(offsets: std::ops::Range<i64>, magic: i8) -> Vec<u8> {
    offsets.flat_map(|offset| message(offset, magic)).collect()
}

/// Continues at the offsets of the errors.
#[track_caller]
fn check(bytes: &[u8], from: i64, errors: &[&str], batches: &[Batch]) {
    let mut from = from;
    let mut read = Vec::new();
    for want in errors {
        let Walk { messages, error, next_offset, .. } =
            invariants::check(bytes, from, &LIMITS, bytes.len() / 2);
        read.extend(messages);
        assert_eq!(error.as_deref(), Some(*want));
        let error = Encoder::new().encode(bytes, next_offset, &LIMITS, &mut Vec::new());
        let Err(RecordsError::OldFormat { next_offset, .. }) = error else { panic!("{error:?}") };
        from = next_offset;
    }
    let walk = invariants::check(bytes, from, &LIMITS, bytes.len() / 2);
    assert_eq!(walk.error, None);
    read.extend(walk.messages);
    assert_eq!(read, expected(batches, 0));
}

#[test]
fn old_messages_are_an_error_with_the_next_offset() {
    for magic in [0, 1] {
        let error = |offset: i64, next: i64| {
            format!(
                "record at offset {offset} has format version {magic}, only version 2 is supported: \
                 read on at offset {next}"
            )
        };
        let batch = |base_offset| Batch::of_values(base_offset, &["a", "b"]);
        let at_the_start = [messages(0..3, magic), batch(3).bytes()].concat();
        check(&at_the_start, 0, &[&error(0, 3)], &[batch(3)]);
        check(&at_the_start, 1, &[&error(1, 3)], &[batch(3)]);
        check(&at_the_start, 3, &[], &[batch(3)]);
        let in_the_middle = [batch(0).bytes(), messages(2..4, magic), batch(10).bytes()].concat();
        check(&in_the_middle, 0, &[&error(2, 4)], &[batch(0), batch(10)]);
        let at_the_end = [batch(0).bytes(), messages(2..4, magic)].concat();
        check(&at_the_end, 0, &[&error(2, 4)], &[batch(0)]);
        let twice = [messages(0..1, magic), batch(1).bytes(), messages(5..6, magic), batch(6).bytes()];
        check(&twice.concat(), 0, &[&error(0, 1), &error(5, 6)], &[batch(1), batch(6)]);
        // Compressed ones have the offset of the last of them.
        check(&[message(9, magic), batch(10).bytes()].concat(), 4, &[&error(9, 10)], &[batch(10)]);
    }
}

#[test]
fn truncated_old_message_reports_its_size() {
    let bytes = [Batch::of_values(0, &["a"]).bytes(), message(1, 1)].concat();
    let walk = invariants::walk(&bytes[..bytes.len() - 1], 0, &LIMITS);
    assert_eq!((walk.truncated, walk.error), (Some(message(1, 1).len()), None));
}

/// The checksum of a batch does not cover its magic number.
#[test]
fn corrupt_batch_is_not_an_old_message() {
    for magic in [0, 1] {
        let damaged = Batch::of_values(7, &["a", "b", "c"]).with(|batch| batch.magic = magic).bytes();
        let error = invariants::check(&damaged, 7, &LIMITS, damaged.len() / 2).error.unwrap();
        assert!(error.starts_with("batch at offset 7 is corrupt: checksum is "), "{error}");
        let mut short = message(7, magic);
        short[8..12].copy_from_slice(&13_i32.to_be_bytes());
        let error = invariants::check(&short, 7, &LIMITS, 0).error.unwrap();
        let want = "batch at offset 7 is corrupt: length of 13 bytes is below the ";
        assert!(error.starts_with(want), "{error}");
    }
}
