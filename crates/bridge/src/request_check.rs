//! Counts records and headers of a command before it is decoded: the smallest of them take two bytes on the wire, and dozens
//! of times that in memory.

use prost::encoding::{WireType, decode_key, decode_varint};

use crate::cluster::{MAX_COMMAND_HEADERS, MAX_HEADERS, MAX_RECORDS};

/// Why a request must not be decoded.
#[derive(Debug, PartialEq)]
pub(crate) enum Undecodable {
    /// A command has more of something than it may.
    TooMany { sequence: i64, message: String },
    /// It is no `PubSubReq`, or has groups, which proto3 does not: they are skipped when decoded, whatever is in them, and
    /// not looked into here.
    Wrong,
}

/// Looks through a `PubSubReq`.
///
/// # Errors
/// It must not be decoded.
pub(crate) fn check_before_decoding(message: &[u8]) -> Result<(), Undecodable> {
    let mut counts = Counts::default();
    counts.add(message).ok_or(Undecodable::Wrong)?;
    let Counts { sequence, records, headers, most_headers } = counts;
    for (count, of, max) in [
        (records, "records in one command", MAX_RECORDS),
        (most_headers, "headers in one record", MAX_HEADERS),
        (headers, "headers in one command", MAX_COMMAND_HEADERS),
    ] {
        if count > max {
            let message = format!("failed to produce, err: {count} {of}: expected at most {max}");
            return Err(Undecodable::TooMany { sequence, message });
        }
    }
    Ok(())
}

#[derive(Default)]
struct Counts {
    sequence: i64,
    records: usize,
    headers: usize,
    /// Of one record.
    most_headers: usize,
}

impl Counts {
    fn add(&mut self, message: &[u8]) -> Option<()> {
        fields(message, |number, value| match (number, value) {
            (SEQUENCE, Value::Varint(varint)) => {
                self.sequence = varint.cast_signed();
                Some(())
            }
            (PRODUCE, Value::Bytes(produce)) => fields(produce, |number, value| match (number, value) {
                (RECORDS, Value::Bytes(record)) => self.add_record(record),
                _ => Some(()),
            }),
            _ => Some(()),
        })
    }

    fn add_record(&mut self, record: &[u8]) -> Option<()> {
        let mut headers = 0_usize;
        fields(record, |number, _| {
            headers = headers.saturating_add((number == HEADERS).into());
            Some(())
        })?;
        self.records = self.records.saturating_add(1);
        self.headers = self.headers.saturating_add(headers);
        self.most_headers = self.most_headers.max(headers);
        Some(())
    }
}

enum Value<'a> {
    Varint(u64),
    Fixed,
    Bytes(&'a [u8]),
}

/// Visits each field; `None` where bytes are none, or where the visitor says so.
fn fields<'a>(mut bytes: &'a [u8], mut visit: impl FnMut(u32, Value<'a>) -> Option<()>) -> Option<()> {
    while !bytes.is_empty() {
        let (number, value) = field(&mut bytes)?;
        visit(number, value)?;
    }
    Some(())
}

/// Takes one field off the front.
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

    fn found(message: &[u8]) -> Option<String> {
        match check_before_decoding(message) {
            Err(Undecodable::TooMany { sequence, message }) => Some(format!("{sequence}: {message}")),
            Err(Undecodable::Wrong) => Some("wrong".to_owned()),
            Ok(()) => None,
        }
    }

    fn request(records: usize, headers: usize) -> Vec<u8> {
        let record = ProduceRecord { headers: vec![Header::default(); headers], ..ProduceRecord::default() };
        let produce = CmdKafkaProduce { records: vec![record; records] };
        PubSubReq { sequence: -7, req: Some(Req::CmdKafkaProduce(produce)) }.encode_to_vec()
    }

    #[test]
    fn as_many_as_are_allowed_are_not_too_many_and_one_more_is() {
        assert_eq!(found(&request(MAX_RECORDS, 1)), None);
        assert_eq!(found(&request(3, MAX_HEADERS)), None);
        let message =
            "-7: failed to produce, err: 1001 records in one command: expected at most 1000".to_owned();
        assert_eq!(found(&request(MAX_RECORDS + 1, 0)), Some(message));
        let message =
            "-7: failed to produce, err: 101 headers in one record: expected at most 100".to_owned();
        assert_eq!(found(&request(1, MAX_HEADERS + 1)), Some(message));
        assert_eq!(found(&request(MAX_COMMAND_HEADERS / MAX_HEADERS, MAX_HEADERS)), None);
        let message =
            "-7: failed to produce, err: 10100 headers in one command: expected at most 10000".to_owned();
        assert_eq!(found(&request(MAX_COMMAND_HEADERS / MAX_HEADERS + 1, MAX_HEADERS)), Some(message));
    }

    #[test]
    fn commands_that_decoding_would_merge_are_counted_together() {
        let half = request(MAX_RECORDS / 2 + 1, 0);
        assert_eq!(found(&half), None);
        assert!(found(&[&half[..], &half].concat()).is_some());
        let ping = PubSubReq { sequence: 1, req: Some(Req::CmdPing(Default::default())) }.encode_to_vec();
        assert!(found(&[request(MAX_RECORDS + 1, 0), ping].concat()).is_some());
    }

    #[test]
    fn broken_bytes_are_wrong() {
        let whole = request(2, 2);
        // A sequence alone is whole.
        for cut in (1..whole.len()).filter(|cut| *cut != 11) {
            assert_eq!(found(&whole[..cut]).as_deref(), Some("wrong"), "cut at byte {cut}");
        }
        assert_eq!(found(b"\xD2\x3E\x03\x0A\xFF\xFF").as_deref(), Some("wrong"));
    }

    #[test]
    fn a_group_hides_nothing() {
        let records = [0x0A, 0x00].repeat(MAX_RECORDS + 1);
        let of_command = |produce: Vec<u8>| {
            let mut message = vec![0xD2, 0x3E];
            prost::encoding::encode_varint(produce.len() as u64, &mut message);
            [message, produce].concat()
        };
        let group = [0x7B, 0x7C];
        let hidden = of_command([&group[..], &records].concat());
        assert!(PubSubReq::decode(&hidden[..]).is_ok(), "decoding skips the group and goes on");
        assert_eq!(found(&hidden).as_deref(), Some("wrong"));
        // In a record, and in front of the command.
        let in_record = of_command([&[0x0A, 0x02], &group[..]].concat());
        assert_eq!(found(&in_record).as_deref(), Some("wrong"));
        assert_eq!(found(&[&group[..], &of_command(records)].concat()).as_deref(), Some("wrong"));
    }
}
