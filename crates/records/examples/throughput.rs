//! Measures the encoder on one core: records of an 8-byte key and a 100-byte value, in batches of 16 KiB, in each
//! compression. `cargo run --release -p sluicegate-records --example throughput [SECONDS-PER-ROW]`

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "the test encoder fails loudly")]
#![expect(clippy::print_stdout, reason = "a program")]

#[expect(dead_code, reason = "tests use the rest")]
#[path = "../src/tests/batch.rs"]
mod batch;

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use batch::{Batch, COMPRESSIONS, Compression, Record};
use sluicegate_records::{Encoder, Limits, RecordsError};

fn main() -> Result<(), RecordsError> {
    let seconds = std::env::args().nth(1).and_then(|arg| arg.parse().ok()).unwrap_or(2.0);
    println!("{:<14} {:>12} {:>10} {:>12}", "compression", "M records/s", "MB/s out", "ns/record");
    for compression in COMPRESSIONS {
        let records = records(compression);
        let (count, bytes, elapsed) = measure(&records, Duration::from_secs_f64(seconds))?;
        let (name, elapsed) = (format!("{compression:?}"), elapsed.as_secs_f64());
        let (rate, throughput) = (count as f64 / elapsed / 1e6, bytes as f64 / elapsed / 1e6);
        println!("{name:<14} {rate:>12.2} {throughput:>10.0} {:>12.1}", 1e3 / rate);
    }
    Ok(())
}

/// Encodes `records` again and again: how many, into how many bytes, in what time.
fn measure(records: &[u8], budget: Duration) -> Result<(usize, usize, Duration), RecordsError> {
    let limits = Limits { max_bytes: usize::MAX, max_record_bytes: 1 << 20, max_batch_bytes: 1 << 20 };
    let mut encoder = Encoder::new();
    let mut out = Vec::new();
    encoder.encode(records, 0, &limits, &mut out)?;
    let (mut count, mut bytes) = (0, 0);
    let start = Instant::now();
    while start.elapsed() < budget {
        out.clear();
        count += encoder.encode(black_box(records), 0, &limits, &mut out)?.count;
        bytes += black_box(&out).len();
    }
    Ok((count, bytes, start.elapsed()))
}

/// A Fetch response's worth: 1 MiB before compression, from the middle of a log.
fn records(compression: Compression) -> Vec<u8> {
    let (batch_records, batches) = (16 * 1024 / 118, 64);
    let mut bytes = Vec::new();
    for index in 0..batches {
        let base_offset = 5_000_000 + index * batch_records;
        let records = (0..batch_records as i32).map(|delta| Record {
            offset_delta: delta,
            timestamp_delta: (delta / 8).into(),
            key: Some(format!("{:08}", base_offset + i64::from(delta)).into_bytes()),
            value: Some(value(base_offset as u64 + delta as u64)),
            headers: Vec::new(),
        });
        let batch = Batch { base_offset, compression, records: records.collect(), ..Batch::default() };
        bytes.extend(batch.bytes());
    }
    bytes
}

/// 100 bytes that compress to about a half, as text does.
fn value(seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        b'a' + ((state >> 59) as u8 & 15)
    };
    (0..100).map(|_| next()).collect()
}
