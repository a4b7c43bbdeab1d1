//! The three limits, and calls that continue after one is reached.

use sluicegate_records::{Encoded, Encoder, Limits, RecordsError};

use super::{
    LIMITS,
    batch::{Batch, Compression},
    concat,
};

fn encode(batches: &[Batch], from: i64, limits: Limits) -> Result<(Encoded, usize), RecordsError> {
    let mut out = Vec::new();
    let encoded = Encoder::new().encode(&concat(batches), from, &limits, &mut out)?;
    Ok((encoded, out.len()))
}

#[test]
fn call_stops_before_max_bytes_of_its_own() {
    let batches = [Batch::of_values(0, &["a", "b"]), Batch::of_values(2, &["c", "d"])];
    let (all, whole_len) = encode(&batches, 0, LIMITS).unwrap();
    assert_eq!(all, Encoded { count: 4, next_offset: 4, full: false, truncated: None });

    for max_bytes in 0..whole_len {
        let (part, len) = encode(&batches, 0, Limits { max_bytes, ..LIMITS }).unwrap();
        assert!(len <= max_bytes || part.count == 1, "{len} bytes of {max_bytes}");
        let next_offset = part.count as i64;
        assert_eq!(part, Encoded { count: part.count, next_offset, full: true, truncated: None });
    }
    assert_eq!(encode(&batches, 0, Limits { max_bytes: whole_len, ..LIMITS }).unwrap().0, all);
    let mut out = vec![0; 1000];
    let limits = Limits { max_bytes: 100, ..LIMITS };
    let bytes = Batch::of_values(0, &["a", "b"]).bytes();
    assert_eq!(Encoder::new().encode(&bytes, 0, &limits, &mut out).unwrap().count, 2);
}

#[test]
fn first_record_over_the_limit_is_an_error() {
    let mut batch = Batch::of_values(10, &["small", "too large", "small"]);
    batch.records[1].key = Some(b"key".to_vec());
    batch.records[1].headers = vec![(b"h".to_vec(), Some(b"v".to_vec()))];
    // Key, value, and the header as it is on the wire (a count, two lengths and two bytes) and what each counts
    // besides.
    let len = 3 + 9 + 5 + 32;
    let batches = [batch];

    let fits = Limits { max_record_bytes: len, ..LIMITS };
    assert_eq!(encode(&batches, 10, fits).unwrap().0.count, 3);

    let limits = Limits { max_record_bytes: len - 1, ..LIMITS };
    let before = Encoded { count: 1, next_offset: 11, full: false, truncated: None };
    assert_eq!(encode(&batches, 10, limits).unwrap().0, before);
    let error = encode(&batches, 11, limits).unwrap_err();
    assert!(
        matches!(error, RecordsError::RecordTooLarge { offset: 11, next_offset: 12, len: 49, max: 48 }),
        "{error:?}"
    );
    assert_eq!(
        error.to_string(),
        "record of 49 bytes at offset 11 exceeds the limit of 48, the next record is at offset 12"
    );
    assert_eq!(encode(&batches, 12, limits).unwrap().0.count, 1);
}

#[test]
fn batch_over_the_decompressed_limit_is_an_error() {
    let batches = |compression| {
        [Batch::of_values(7, &["a".repeat(1000)]).with(|batch| batch.compression = compression)]
    };
    let section = batches(Compression::None)[0].bytes().len() - 61;
    for compression in super::batch::COMPRESSIONS {
        let batches = batches(compression);
        let fits = Limits { max_batch_bytes: section, ..LIMITS };
        assert_eq!(encode(&batches, 7, fits).unwrap().0.count, 1, "{compression:?}");

        let short = Limits { max_batch_bytes: section - 1, ..LIMITS };
        match (compression, encode(&batches, 7, short)) {
            (Compression::None, Ok((encoded, _))) => assert_eq!(encoded.count, 1),
            (_, Err(RecordsError::BatchTooLarge { base_offset: 7, next_offset: 8, max, .. })) => {
                assert_eq!(max, section - 1);
            }
            (_, other) => panic!("{compression:?}: {other:?}"),
        }
    }
}
