//! The invariants for any bytes, offset and limits, for the property tests and the fuzz targets.

use prost::Message;
use sluicegate_protocol::{KafkaFetchResp, KafkaMessage};
use sluicegate_records::{Encoded, Encoder, Limits};

use super::batch::seal;

/// Checks the invariants for any input. Its last bytes are the arguments, so that a log segment is an input as it is.
pub(crate) fn check_input(input: &[u8]) {
    let Some((records, &[from, a, b, c, d, e, f, cut])) = input.split_last_chunk() else { return };
    let [max_bytes, max_record_bytes, max_batch_bytes] =
        [[a, b], [c, d], [e, f]].map(|bytes| usize::from(u16::from_le_bytes(bytes)));
    let limits = Limits { max_bytes, max_record_bytes, max_batch_bytes };
    let cut = records.len() * usize::from(cut) / 255;
    let first = records.first_chunk().map_or(0, |offset| i64::from_be_bytes(*offset));
    let from = first.saturating_add(from.into());
    check(records, from, &limits, cut);
    let mut sealed = records.to_vec();
    seal(&mut sealed);
    check(&sealed, from, &limits, cut);
}

/// Encodes `records` in several ways, and panics if the results differ.
#[track_caller]
pub(crate) fn check(records: &[u8], from: i64, limits: &Limits, cut: usize) -> Walk {
    let whole = walk(records, from, limits);

    let one_by_one = walk(records, from, &Limits { max_bytes: 0, ..*limits });
    assert_eq!(one_by_one, whole, "one record at a time");

    if let Some(first) = whole.messages.first() {
        let later = walk(records, first.offset.saturating_add(1), limits);
        assert_eq!(later.messages, whole.messages[1..], "asked for the second record");
        assert_eq!(later.error, whole.error, "asked for the second record");
    }
    check_against(&whole, records, from, limits, cut);
    whole
}

/// Encodes a front part of `records`: the result is a prefix of the whole, and has no other error.
#[track_caller]
pub(crate) fn check_cut(records: &[u8], from: i64, limits: &Limits, cut: usize) -> Walk {
    check_against(&walk(records, from, limits), records, from, limits, cut)
}

#[track_caller]
fn check_against(whole: &Walk, records: &[u8], from: i64, limits: &Limits, cut: usize) -> Walk {
    let front = walk(records.get(..cut).unwrap_or(records), from, limits);
    assert!(whole.messages.starts_with(&front.messages), "cut at byte {cut}: {front:?} of {whole:?}");
    let cause = |walk: &Walk| walk.error.as_deref().map(|error| cause(error).to_owned());
    assert!(front.error.is_none() || cause(&front) == cause(whole), "cut at byte {cut}: {:?}", front.error);
    front
}

/// The error without its next offset, which can depend on later bytes.
fn cause(error: &str) -> &str {
    error.split_once(": read on at").map_or(error, |(cause, _)| cause)
}

/// All records, from calls that continue at `next_offset` until nothing changes.
#[derive(Debug, PartialEq)]
pub(crate) struct Walk {
    pub(crate) messages: Vec<KafkaMessage>,
    pub(crate) next_offset: i64,
    pub(crate) truncated: Option<usize>,
    /// The error that ended the walk.
    pub(crate) error: Option<String>,
}

pub(crate) fn walk(records: &[u8], from: i64, limits: &Limits) -> Walk {
    let mut encoder = Encoder::new();
    let mut walk = Walk { messages: Vec::new(), next_offset: from, truncated: None, error: None };
    loop {
        let mut out = PREFIX.to_vec();
        let encoded = match encoder.encode(records, walk.next_offset, limits, &mut out) {
            Ok(encoded) => encoded,
            Err(error) => {
                assert_eq!(out, PREFIX, "the output of a failed call");
                walk.error = Some(describe(&error));
                return walk;
            }
        };
        let appended = out.strip_prefix(PREFIX).expect("the output still begins with what was there");
        let messages = decode(appended);
        check_call(&encoded, &messages, appended.len(), walk.next_offset, limits);
        walk.messages.extend(messages);
        walk.truncated = encoded.truncated;
        let progress = encoded.next_offset > walk.next_offset;
        walk.next_offset = encoded.next_offset;
        if !progress {
            assert_eq!((encoded.count, encoded.full), (0, false), "a call without progress");
            return walk;
        }
    }
}

fn decode(appended: &[u8]) -> Vec<KafkaMessage> {
    let answer = KafkaFetchResp::decode(appended).expect("an answer that protobuf can read");
    assert_eq!(answer.encode_to_vec(), appended, "the bytes that prost writes");
    answer.messages
}

fn check_call(encoded: &Encoded, messages: &[KafkaMessage], len: usize, from: i64, limits: &Limits) {
    assert_eq!(encoded.count, messages.len());
    assert!(encoded.next_offset >= from, "{encoded:?} is before {from}");
    let mut least = from;
    for message in messages {
        assert!(message.offset >= least, "offset {} where at least {least} is due", message.offset);
        let [key, value] = [&message.key, &message.value].map(|field| field.as_ref().map_or(0, |f| f.len()));
        assert!(key + value <= limits.max_record_bytes);
        least = message.offset + 1;
    }
    assert!(encoded.next_offset >= least, "{encoded:?} is before {least}");
    assert!(len <= limits.max_bytes || encoded.count == 1, "{len} bytes of {}", limits.max_bytes);
    assert!(!encoded.full || encoded.count > 0, "full without a record");
    assert!(!encoded.full || encoded.truncated.is_none(), "full and yet at the end");
}

/// The error and its causes in one line.
pub(crate) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

const PREFIX: &[u8] = b"already there";
