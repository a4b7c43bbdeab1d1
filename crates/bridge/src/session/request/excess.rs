//! Too many records or headers in a command, found before it is decoded: the smallest of them take two bytes, and dozens
//! of times that when decoded.

use prost::encoding::{WireType, decode_key, decode_varint};

use crate::cluster::{MAX_HEADERS, MAX_RECORDS};

/// What a command has too much of.
#[derive(Debug, PartialEq)]
pub(super) struct Excess {
    pub(super) sequence: i64,
    pub(super) message: String,
}

/// Looks through a `PubSubReq`; where its inner fields are broken, only up to there.
pub(super) fn find(message: &[u8]) -> Option<Excess> {
    let (mut sequence, mut records, mut headers) = (0, 0_usize, 0);
    fields(message, |number, value| match (number, value) {
        (SEQUENCE, Value::Varint(varint)) => sequence = varint.cast_signed(),
        (PRODUCE, Value::Bytes(produce)) => fields(produce, |number, value| {
            if let (RECORDS, Value::Bytes(record)) = (number, value) {
                records = records.saturating_add(1);
                headers = headers.max(count(record, HEADERS));
            }
        }),
        _ => {}
    });
    let message = match () {
        () if records > MAX_RECORDS => {
            format!(
                "failed to produce, err: {records} records in one command: expected at most {MAX_RECORDS}"
            )
        }
        () if headers > MAX_HEADERS => {
            format!("failed to produce, err: {headers} headers in one record: expected at most {MAX_HEADERS}")
        }
        () => return None,
    };
    Some(Excess { sequence, message })
}

fn count(bytes: &[u8], wanted: u32) -> usize {
    let mut count = 0_usize;
    fields(bytes, |number, _| count = count.saturating_add((number == wanted).into()));
    count
}

enum Value<'a> {
    Varint(u64),
    Fixed,
    Bytes(&'a [u8]),
}

fn fields<'a>(mut bytes: &'a [u8], mut visit: impl FnMut(u32, Value<'a>)) {
    while let Some((number, value)) = field(&mut bytes) {
        visit(number, value);
    }
}

/// Takes one field off the front; `None` at the end, and where there is none.
fn field<'a>(bytes: &mut &'a [u8]) -> Option<(u32, Value<'a>)> {
    let (number, kind) = decode_key(bytes).ok()?;
    let len = match kind {
        WireType::Varint => return Some((number, Value::Varint(decode_varint(bytes).ok()?))),
        WireType::LengthDelimited => usize::try_from(decode_varint(bytes).ok()?).ok()?,
        WireType::SixtyFourBit => 8,
        WireType::ThirtyTwoBit => 4,
        WireType::StartGroup | WireType::EndGroup => return None,
    };
    let (value, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some((number, if kind == WireType::LengthDelimited { Value::Bytes(value) } else { Value::Fixed }))
}

/// `PubSubReq.sequence`.
const SEQUENCE: u32 = 1;
/// `PubSubReq.cmd_kafka_produce`.
const PRODUCE: u32 = 1002;
/// `CmdKafkaProduce.records`.
const RECORDS: u32 = 1;
/// `ProduceRecord.headers`.
const HEADERS: u32 = 5;

#[cfg(test)]
mod tests {
    use prost::Message;
    use sluicegate_protocol::pub_sub_req::Req;
    use sluicegate_protocol::{CmdKafkaProduce, Header, ProduceRecord, PubSubReq};

    use super::*;

    fn request(records: usize, headers: usize) -> Vec<u8> {
        let record = ProduceRecord { headers: vec![Header::default(); headers], ..ProduceRecord::default() };
        let produce = CmdKafkaProduce { records: vec![record; records] };
        PubSubReq { sequence: -7, req: Some(Req::CmdKafkaProduce(produce)) }.encode_to_vec()
    }

    #[test]
    fn as_many_as_are_allowed_are_no_excess_and_one_more_is() {
        assert_eq!(find(&request(MAX_RECORDS, 1)), None);
        assert_eq!(find(&request(3, MAX_HEADERS)), None);
        let message = "failed to produce, err: 1001 records in one command: expected at most 1000".to_owned();
        assert_eq!(find(&request(MAX_RECORDS + 1, 0)), Some(Excess { sequence: -7, message }));
        assert!(find(&request(1, MAX_HEADERS + 1)).is_some_and(|excess| excess.sequence == -7));
    }

    #[test]
    fn commands_that_decoding_would_merge_are_counted_together() {
        let half = request(MAX_RECORDS / 2 + 1, 0);
        assert_eq!(find(&half), None);
        assert!(find(&[&half[..], &half].concat()).is_some());
        let ping = PubSubReq { sequence: 1, req: Some(Req::CmdPing(Default::default())) }.encode_to_vec();
        assert!(find(&[request(MAX_RECORDS + 1, 0), ping].concat()).is_some());
    }

    #[test]
    fn broken_bytes_are_no_excess() {
        let whole = request(2, 2);
        for cut in 0..whole.len() {
            assert_eq!(find(&whole[..cut]), None, "cut at byte {cut}");
        }
        assert_eq!(find(b"\xD2\x3E\x03\x0A\xFF\xFF"), None);
    }
}
