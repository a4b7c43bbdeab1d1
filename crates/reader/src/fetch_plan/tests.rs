//! Fetches from logs of a few batches, without a broker.

use super::*;
use crate::encoder_pool::EncoderPool;
use crate::metadata_cache::log_version;
use crate::record_batches::{batch, one_record, records};
use crate::testing::target;

const MAX_RESPONSE: usize = 1 << 20;

/// A fetch at offset 0 of partition 0 of `t`, and what it shares with others.
#[derive(Default)]
struct Case {
    skip_cache: SkipCache,
    encoders: EncoderPool,
}

impl Case {
    fn plan(&self, requested: i64, now: Instant) -> FetchPlan<'_> {
        let limits = Limits { max_bytes: 10, max_record_bytes: 1_000, max_batch_bytes: MAX_RESPONSE };
        let sizes = (limits.max_bytes, limits, limits.max_bytes);
        FetchPlan::new(&self.skip_cache, target("t", 0), requested, sizes, now)
    }

    /// The step that follows an answer and its encoding.
    fn step(&self, plan: &mut FetchPlan<'_>, now: Instant, answer: Answer) -> Result<Step, ReadError> {
        match plan.next(answer)? {
            Step::Encode(encoding, answer) => {
                let encoded = self.encoders.encode_now(&encoding, encoding.limits);
                plan.encoded(now, &answer, encoded)
            }
            step => Ok(step),
        }
    }

    /// Runs a fetch against a log: the offsets of its requests, and its result as count and next offset.
    fn fetch(
        &self,
        requested: i64,
        log: impl Fn(RecordsFrom) -> Answer,
    ) -> (Vec<i64>, Result<(usize, i64), String>) {
        let now = Instant::now();
        let mut plan = self.plan(requested, now);
        let mut request = plan.request();
        let mut offsets = Vec::new();
        loop {
            offsets.push(request.offset);
            match self.step(&mut plan, now, log(request)) {
                Ok(Step::Request(next)) => request = next,
                Ok(Step::Skipped) => {
                    assert!(plan.take_skipped() >= WORTH_A_RANGE);
                    request = plan.request();
                }
                Ok(Step::Encode(..)) => panic!("encoded twice"),
                Ok(Step::Done(fetched)) => return (offsets, Ok((fetched.count, fetched.next_offset))),
                Err(error) => return (offsets, Err(error.with_causes())),
            }
        }
    }
}

type Answer = Result<(FetchAnswer, Version), ReadError>;

fn fetched(high_watermark: i64, records: &[u8]) -> FetchAnswer {
    FetchAnswer {
        error: None,
        high_watermark,
        last_stable_offset: -1,
        log_start_offset: -1,
        aborted: Vec::new(),
        preferred_read_replica: None,
        records: Bytes::copy_from_slice(records),
    }
}

fn answer(leader_epoch: i32, records: &[u8]) -> Answer {
    Ok((fetched(100, records), log_version(None, leader_epoch)))
}

fn out_of_range() -> Answer {
    Err(ReadError::Broker { code: ErrorCode(ResponseError::OffsetOutOfRange), detail: String::new() })
}

/// A log of whole batches: an answer begins with the one that holds the offset, and is cut at the requested size.
fn log(batches: Vec<(i64, Vec<u8>)>) -> impl Fn(RecordsFrom) -> Answer {
    move |request| {
        let rest = batches.iter().filter(|(last_offset, _)| *last_offset >= request.offset);
        let mut records = rest.flat_map(|(_, batch)| batch.clone()).collect::<Vec<u8>>();
        records.truncate(request.max_bytes);
        answer(1, &records)
    }
}

/// A message of magic 1, whose checksum does not cover the offset.
fn old(offset: i64) -> Vec<u8> {
    let covered = [&[1; 1], &[0; 9][..], &[0xFF; 4], &[0, 0, 0, 3], b"old"].concat();
    [&offset.to_be_bytes()[..], &25_i32.to_be_bytes(), &0x980F_AA1F_u32.to_be_bytes(), &covered].concat()
}

/// A batch of control records, which holds nothing to deliver.
fn control(base_offset: i64, last_offset_delta: i32, records: &[u8]) -> Vec<u8> {
    batch(base_offset, last_offset_delta, 1 << 5, 1, records)
}

/// A control batch of offsets 0 to 3 that is larger than [`MAX_SKIPPED`].
fn large_control() -> Vec<u8> {
    control(0, 3, &vec![0; MAX_SKIPPED])
}

#[test]
fn empty_batches_are_skipped_and_the_high_watermark_is_not_before_the_records() {
    let log = |request: RecordsFrom| match request.offset {
        0 => answer(1, &control(0, 3, b"marker")),
        4 => answer(1, &batch(4, 3, 0, 0, b"")),
        8 => answer(1, &one_record(8, b'x')),
        _ => answer(1, b""),
    };
    assert_eq!(Case::default().fetch(0, log), (vec![0, 4, 8], Ok((1, 9))));
    assert_eq!(Case::default().fetch(9, log), (vec![9], Ok((0, 9))));
    // A broker reads the high watermark before the records.
    let (case, now) = (Case::default(), Instant::now());
    let mut plan = case.plan(200, now);
    match case.step(&mut plan, now, answer(1, &one_record(200, b'x'))) {
        Ok(Step::Done(fetched)) => assert_eq!((fetched.next_offset, fetched.ends.end), (201, 201)),
        _ => panic!("one record"),
    }
}

#[test]
fn errors_name_the_offset() {
    let mut corrupt = one_record(5, b'x');
    corrupt[68] ^= 1;
    let cause = ConnectionError::TooLong { address: "a:1".to_owned(), len: 9, max: 8 };
    let too_long = || Err(ReadError::Unanswered { broker: "a:1".to_owned(), cause: cause.clone() });
    let batches: [(&dyn Fn() -> Answer, &str); 6] = [
        (&|| answer(1, &one_record(0, b'x')), "CORRUPT_MESSAGE: 69 bytes of batches, all before offset 5"),
        (&|| answer(1, &corrupt), "CORRUPT_MESSAGE: batch at offset 5 is corrupt: checksum is"),
        (&|| answer(1, &batch(5, 0, 0, 1, &records(&[&[0; 2_000]]))), "MESSAGE_TOO_LARGE: record of 200"),
        // Its end is cut off, as brokers do at the requested size.
        (
            &|| answer(1, &control(5, 0, &[0; 2_000_000])[..MAX_RESPONSE - ENVELOPE]),
            "RECORD_LIST_TOO_LARGE: batch of 2000061 bytes at offset 5 exceeds the limit of 1047552",
        ),
        (&out_of_range, "OFFSET_OUT_OF_RANGE: offset 5 is not within partition 0 of topic t"),
        (
            &too_long,
            "RECORD_LIST_TOO_LARGE: response of 9 bytes with the batch at offset 5 exceeds the limit \
             (receive.message.max.bytes = 8)",
        ),
    ];
    for (answer, want) in batches {
        let (offsets, result) = Case::default().fetch(5, |_| answer());
        let error = result.expect_err("an unusable batch");
        assert!(error.starts_with(want), "{error}");
        assert_eq!(offsets, [5]);
    }
}

#[test]
fn old_messages_are_an_error_with_the_first_readable_offset() {
    let log = |request: RecordsFrom| {
        let log = match request.offset {
            0 => [old(0), old(1)].concat(),
            // The last message is truncated.
            2 => [old(2), old(3)[..30].to_vec()].concat(),
            3 => [old(3), one_record(4, b'x'), old(5)].concat(),
            4 => [one_record(4, b'x'), old(5)].concat(),
            5 => old(5),
            _ => Vec::new(),
        };
        answer(1, &log)
    };
    for (from, next) in [(0, 4), (3, 4), (5, 6)] {
        let says = format!(
            "UNSUPPORTED_FOR_MESSAGE_FORMAT: record at offset {from} has format version 1, only version 2 is \
             supported: read on at offset {next}"
        );
        assert_eq!(Case::default().fetch(from, log).1, Err(says));
    }
    assert_eq!(Case::default().fetch(4, log), (vec![4], Ok((1, 5))));
    assert_eq!(Case::default().fetch(6, log), (vec![6], Ok((0, 6))));
}

#[test]
fn old_messages_beyond_the_limit_end_the_fetch() {
    let many =
        |first: i64| (first..).map(old).take(MAX_SKIPPED / old(0).len() + 1).flatten().collect::<Vec<u8>>();
    let (offsets, result) = Case::default().fetch(0, |request| answer(1, &many(request.offset)));
    assert_eq!(offsets, [0]);
    let error = result.expect_err("old messages");
    assert!(error.starts_with("UNSUPPORTED_FOR_MESSAGE_FORMAT: record at offset 0 has"), "{error}");
}

/// Offsets 0 to 15 of control records in batches of four, then a record.
fn skipped_log() -> impl Fn(RecordsFrom) -> Answer {
    let skipped = (0..4).map(|batch| (4 * batch + 3, control(4 * batch, 3, &[0; WORTH_A_RANGE])));
    log(skipped.chain([(16, one_record(16, b'x'))]).collect())
}

#[test]
fn fetch_within_a_skipped_range_requests_what_follows() {
    let case = Case::default();
    // Large batches are asked for twice: with the room for small ones at first.
    assert_eq!(case.fetch(2, skipped_log()), (vec![2, 2, 4, 12], Ok((1, 17))));
    assert_eq!(case.fetch(3, skipped_log()), (vec![12, 12, 16], Ok((1, 17))));
    for offset in 2..=16 {
        assert_eq!(case.fetch(offset, skipped_log()), (vec![16], Ok((1, 17))), "{offset}");
    }
    // A range that was skipped before follows on what this fetch has to skip.
    assert_eq!(case.fetch(1, skipped_log()), (vec![1, 1, 16], Ok((1, 17))));
    assert_eq!(case.fetch(1, skipped_log()), (vec![16], Ok((1, 17))));
}

#[test]
fn range_of_an_abandoned_fetch_is_kept() {
    let (case, now) = (Case::default(), Instant::now());
    let mut plan = case.plan(0, now);
    let mut request = plan.request();
    while request.offset < 8 {
        match case.step(&mut plan, now, skipped_log()(request)) {
            Ok(Step::Request(_) | Step::Skipped) => request = plan.request(),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(case.fetch(6, skipped_log()).0.first(), Some(&request.offset));
}

#[test]
fn few_skipped_bytes_are_neither_cached_nor_counted() {
    let (case, now) = (Case::default(), Instant::now());
    for _ in 0..2 {
        let mut plan = case.plan(0, now);
        let skipped = case.step(&mut plan, now, answer(1, &control(0, 3, b"marker")));
        assert_eq!(skipped.expect("a marker"), Step::Request(plan.request()));
        assert_eq!((plan.request().offset, plan.take_skipped()), (4, 0));
    }
}

#[test]
fn skipped_bytes_are_counted_before_the_next_request() {
    let (case, now) = (Case::default(), Instant::now());
    let mut plan = case.plan(0, now);
    assert_eq!(plan.so_far().map(|so_far| so_far.is_ok()), None);
    let batches = [control(0, 3, &[0; WORTH_A_RANGE]), control(4, 3, &[0; WORTH_A_RANGE])];
    let skipped = case.step(&mut plan, now, answer(1, &batches.concat()));
    assert_eq!(skipped.expect("control records"), Step::Skipped);
    assert_eq!(plan.take_skipped(), batches.concat().len());
    assert_eq!(plan.take_skipped(), 0);
    let so_far = plan.so_far().expect("skipped records").expect("no old format");
    assert_eq!((so_far.count, so_far.next_offset, so_far.ends.end), (0, 8, 100));
    // Meanwhile another fetch has come further.
    case.skip_cache.insert(plan.target(), (8, 20), log_version(None, 1), now);
    plan.catch_up(now);
    assert_eq!(plan.request().offset, 20);
}

#[test]
fn log_that_became_shorter_is_read_from_the_start_once() {
    let case = Case::default();
    let large = large_control();
    assert_eq!(case.fetch(0, |_| answer(1, &large)), (vec![0], Ok((0, 4))));
    let cut = |request: RecordsFrom| match request.offset {
        0 => answer(1, &one_record(0, b'x')),
        _ => out_of_range(),
    };
    assert_eq!(case.fetch(0, cut), (vec![4, 0], Ok((1, 1))));
    // The entry is dropped.
    assert_eq!(case.fetch(0, cut), (vec![0], Ok((1, 1))));

    assert_eq!(case.fetch(0, |_| answer(1, &large)), (vec![0], Ok((0, 4))));
    let cut_again = |request: RecordsFrom| match request.offset {
        0 => answer(1, &control(0, 1, b"")),
        _ => out_of_range(),
    };
    let says = "OFFSET_OUT_OF_RANGE: offset 2 is not within partition 0 of topic t".to_owned();
    assert_eq!(case.fetch(0, cut_again), (vec![4, 0, 2], Err(says)));
}

#[test]
fn another_version_of_the_log_is_read_from_the_requested_offset() {
    let case = Case::default();
    let large = large_control();
    assert_eq!(case.fetch(0, |_| answer(1, &large)), (vec![0], Ok((0, 4))));
    let other = |request: RecordsFrom| answer(2, &one_record(request.offset, b'x'));
    assert_eq!(case.fetch(2, other), (vec![4, 2], Ok((1, 3))));
    // The range is dropped, also for other offsets.
    assert_eq!(case.fetch(0, other), (vec![0], Ok((1, 1))));
}

#[test]
fn reply_depends_on_the_role() {
    let answer = |high_watermark, node, records: &[u8]| FetchAnswer {
        preferred_read_replica: node,
        ..fetched(high_watermark, records)
    };
    let meaning = |answer, role| match reply(answer, role, 51) {
        Reply::Success(_) => "success",
        Reply::Error(_) => "error",
        Reply::Redirect(2) => "redirect",
        Reply::Redirect(_) => "another redirect",
        Reply::Behind => "behind",
    };
    for (high_watermark, node, records, leader, replica) in [
        (60, None, &b"x"[..], "success", "success"),
        (51, None, b"", "success", "success"),
        (50, None, b"", "success", "behind"),
        (60, Some(2), b"", "redirect", "success"),
        (60, Some(2), b"x", "success", "success"),
    ] {
        for (role, want) in [(Role::Leader, leader), (Role::LeaderOnly, leader), (Role::Replica, replica)] {
            let meant = meaning(answer(high_watermark, node, records), role);
            assert_eq!(meant, want, "{high_watermark} {node:?} {records:?}");
        }
    }
    let error = FetchAnswer { error: ErrorCode::of(1), ..answer(-1, Some(2), b"") };
    assert_eq!(meaning(error, Role::Leader), "error");
}
