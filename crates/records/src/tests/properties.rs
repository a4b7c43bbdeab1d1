//! Random batches are read as written; random and mutated bytes keep the invariants.

use proptest::{collection::vec, option, prelude::*, sample};
use sluicegate_records::{BatchProducer, BatchRecord, Limits, encode_batch};

use super::{
    LIMITS,
    batch::{Batch, COMPRESSIONS, CONTROL, LOG_APPEND_TIME, Record, TRANSACTIONAL, compress, seal},
    concat, expected, fixtures, invariants,
};

fn bytes(max: usize) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![vec(any::<u8>(), 0..max), (any::<u8>(), 0..max).prop_map(|(byte, len)| vec![byte; len])]
}

/// Records with holes between their offsets.
fn records() -> impl Strategy<Value = Vec<Record>> {
    let header = (bytes(10), option::of(bytes(10)));
    let record = (0..3, -1000..1000_i64, option::of(bytes(20)), option::of(bytes(300)), vec(header, 0..3));
    vec(record, 0..12).prop_map(|records| {
        let mut next = 0;
        let record = |(hole, timestamp_delta, key, value, headers)| {
            let offset_delta = next + hole;
            next = offset_delta + 1;
            Record { offset_delta, timestamp_delta, key, value, headers }
        };
        records.into_iter().map(record).collect()
    })
}

/// Batches with holes between them and at their ends.
fn batches() -> impl Strategy<Value = Vec<Batch>> {
    let attributes = sample::select(vec![0, 0, LOG_APPEND_TIME, TRANSACTIONAL, TRANSACTIONAL | CONTROL]);
    let batch = (sample::select(&COMPRESSIONS[..]), attributes, records(), 0..3, 0..3_i64);
    (0..1_000_000_i64, vec(batch, 0..6)).prop_map(|(mut next, batches)| {
        let batch = |(compression, attributes, records, tail, gap)| {
            let mut batch = Batch { compression, attributes, records, ..Batch::default() };
            batch.base_offset = next + gap;
            batch.last_offset_delta = Some(batch.records.last().map_or(0, |last| last.offset_delta) + tail);
            next = batch.next_offset();
            batch
        };
        batches.into_iter().map(batch).collect()
    })
}

fn limits() -> impl Strategy<Value = Limits> {
    let sizes = (0..2000_usize, 0..1000_usize, 0..10_000_usize);
    sizes.prop_map(|(all, one, batch)| Limits {
        max_bytes: all,
        max_record_bytes: one,
        max_batch_bytes: batch,
    })
}

/// Overwrites, inserts or removes a byte.
fn mutate(bytes: &mut Vec<u8>, (at, byte, kind): (sample::Index, u8, u8)) {
    if bytes.is_empty() {
        return;
    }
    let at = at.index(bytes.len());
    match kind {
        0 => bytes.insert(at, byte),
        1 => drop(bytes.remove(at)),
        _ => bytes[at] = byte,
    }
}

fn mutations() -> impl Strategy<Value = Vec<(sample::Index, u8, u8)>> {
    vec((any::<sample::Index>(), any::<u8>(), 0..8_u8), 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn written_records_are_read(batches in batches(), skip in 0..20_i64, max_bytes in 0..2000_usize, cut: u16) {
        let first = batches.first().map_or(0, |batch| batch.base_offset);
        let from = first + skip;
        let end = batches.last().map_or(0, Batch::next_offset).max(from);
        let walk = invariants::check(&concat(&batches), from, &Limits { max_bytes, ..LIMITS }, cut.into());
        prop_assert_eq!(walk.messages, expected(&batches, from));
        prop_assert_eq!((walk.next_offset, walk.truncated, walk.error), (end, None, None));
    }

    #[test]
    fn producers_batches_are_those_of_the_protocol(records in records(), base in 0..1_000_000_i64) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut records: Vec<Record> = records;
        for (delta, record) in (0..).zip(&mut records) {
            record.offset_delta = delta;
            record.headers.iter_mut().for_each(|(name, _)| *name = text(name).into_bytes());
        }
        if let Some(first) = records.first_mut() {
            first.timestamp_delta = 0;
        }
        let names: Vec<Vec<String>> =
            records.iter().map(|record| record.headers.iter().map(|(name, _)| text(name)).collect()).collect();
        let written: Vec<_> = records
            .iter()
            .zip(&names)
            .map(|(record, names)| BatchRecord {
                timestamp: base + record.timestamp_delta,
                key: record.key.as_deref(),
                value: record.value.as_deref(),
                headers: names.iter().zip(&record.headers).map(|(name, (_, value))| (&**name, value.as_deref())),
            })
            .collect();
        let producer = BatchProducer { id: 1 << 62, epoch: -1, sequence: -1 };
        let mut encoded = encode_batch(producer, &written);
        prop_assert_eq!(&encoded[12..16], (-1_i32).to_be_bytes());
        encoded[12..16].copy_from_slice(&3_i32.to_be_bytes());
        let latest = written.iter().map(|record| record.timestamp).max();
        let last_offset_delta = Some(records.len() as i32 - 1);
        prop_assume!(latest.is_some());
        let want = Batch {
            base_timestamp: base,
            max_timestamp: latest.unwrap_or_default(),
            producer_id: producer.id,
            last_offset_delta,
            records,
            ..Batch::default()
        };
        prop_assert_eq!(encoded, want.bytes());
    }

    #[test]
    fn mutated_batches_keep_the_invariants(
        batches in batches(), mutations in mutations(), limits in limits(), from in -5..1_000_000_i64, cut: u16,
    ) {
        let mut bytes = concat(&batches);
        mutations.into_iter().for_each(|mutation| mutate(&mut bytes, mutation));
        invariants::check(&bytes, from, &limits, cut.into());
        seal(&mut bytes);
        invariants::check(&bytes, from, &limits, cut.into());
    }

    #[test]
    fn mutated_logs_of_kafka_keep_the_invariants(
        log in sample::select(&fixtures::LOGS[..]), mutations in mutations(), arguments: [u8; 8],
    ) {
        let mut input = log.to_vec();
        mutations.into_iter().for_each(|mutation| mutate(&mut input, mutation));
        input.extend(arguments);
        invariants::check_input(&input);
    }

    #[test]
    fn mutated_records_inside_any_compression_keep_the_invariants(
        records in records(), mutations in mutations(), compression in sample::select(&COMPRESSIONS[..]), cut: u16,
    ) {
        let mut section = Vec::new();
        records.iter().for_each(|record| record.write(&mut section));
        mutations.into_iter().for_each(|mutation| mutate(&mut section, mutation));
        let batch = Batch { compression, records, ..Batch::default() };
        invariants::check(&batch.bytes_around(&compress(compression, &section)), 0, &LIMITS, cut.into());
    }

    #[test]
    fn random_bytes_keep_the_invariants(mut bytes in vec(any::<u8>(), 0..300), from: i64, limits in limits(),
        cut: u16) {
        invariants::check(&bytes, from, &limits, cut.into());
        // Such that the header is likely to be in order.
        let len = bytes.len().saturating_sub(12) as u32;
        if let Some(header) = bytes.get_mut(..61) {
            header[0] = 0;
            header[8..12].copy_from_slice(&len.to_be_bytes());
            header[16] = 2;
            header[23] = 0;
            header[57..60].fill(0);
        }
        seal(&mut bytes);
        invariants::check(&bytes, 0, &limits, cut.into());
    }
}
