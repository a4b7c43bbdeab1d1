//! What one inbound message asks of the bridge.

use bytes::{Buf, Bytes};
use prost::Message;
use prost::encoding::{DecodeContext, decode_key, skip_field};
use sluicegate_protocol::{PubSubReq, control_req::Control, pub_sub_req::Req};

use crate::cluster::Command;

/// A request, checked.
#[derive(Debug, PartialEq)]
pub(super) enum Request {
    /// Answered by the session itself.
    Ping { sequence: i64, state: Bytes },
    /// Answered by Kafka.
    Command { sequence: i64, command: Command },
    /// From the gateway, for itself.
    Control(Control),
    /// Asks for nothing and gets no answer.
    Nothing,
    /// Asks for what this version does not know.
    Unknown { sequence: i64 },
    /// Is no `PubSubReq`.
    Wrong,
}

impl Request {
    pub(super) fn parse(message: Bytes) -> Self {
        let Some(last) = last_field(message.clone()) else { return Self::Wrong };
        let Ok(PubSubReq { sequence, req }) = PubSubReq::decode(message) else { return Self::Wrong };
        match req {
            _ if last.is_some_and(|field| !KNOWN.contains(&field)) => Self::Unknown { sequence },
            None => Self::Nothing,
            Some(Req::CmdEmpty(_)) => Self::Unknown { sequence },
            Some(Req::CmdPing(ping)) => Self::Ping { sequence, state: ping.state },
            Some(Req::CmdKafkaFetch(fetch)) => Self::Command { sequence, command: Command::Fetch(fetch) },
            Some(Req::CmdKafkaListOffset(list)) => {
                Self::Command { sequence, command: Command::ListOffset(list) }
            }
            Some(Req::Control(control)) => match control.control {
                Some(control) => Self::Control(control),
                None => Self::Unknown { sequence },
            },
        }
    }
}

/// The commands of `PubSubReq`.
const KNOWN: [u32; 5] = [31, 32, 33, 34, 1001];
const SEQUENCE: u32 = 1;

/// The last top-level field that is not the sequence: it says what is asked, known to this version or not. `None` where
/// the bytes are no protobuf.
fn last_field(mut message: Bytes) -> Option<Option<u32>> {
    let mut last = None;
    while message.has_remaining() {
        let (field, wire_type) = decode_key(&mut message).ok()?;
        skip_field(wire_type, field, &mut message, DecodeContext::default()).ok()?;
        if field != SEQUENCE {
            last = Some(field);
        }
    }
    Some(last)
}

#[cfg(test)]
mod tests {
    use sluicegate_protocol::{CmdEmpty, CmdKafkaFetch, CmdPing, ControlReq};

    use super::*;

    fn request(sequence: i64, req: Req) -> Vec<u8> {
        PubSubReq { sequence, req: Some(req) }.encode_to_vec()
    }

    #[track_caller]
    fn check(message: &[u8], want: Request) {
        assert_eq!(Request::parse(Bytes::copy_from_slice(message)), want, "{message:?}");
    }

    #[test]
    fn each_command_is_told_apart() {
        let ping = CmdPing { state: "s".into() };
        check(&request(7, Req::CmdPing(ping)), Request::Ping { sequence: 7, state: "s".into() });
        let fetch = CmdKafkaFetch { topic: "t".into(), partition: 1, offset: 2 };
        let command = Command::Fetch(fetch.clone());
        check(&request(8, Req::CmdKafkaFetch(fetch)), Request::Command { sequence: 8, command });
        check(&request(9, Req::CmdEmpty(CmdEmpty {})), Request::Unknown { sequence: 9 });
        let control = ControlReq { control: Some(Control::Alive("x".into())) };
        check(&request(0, Req::Control(control)), Request::Control(Control::Alive("x".into())));
    }

    #[test]
    fn a_request_without_a_command_asks_for_nothing() {
        check(&[], Request::Nothing);
        check(&[0x08, 0x05], Request::Nothing);
    }

    #[test]
    fn a_command_of_another_version_is_unknown() {
        check(&[0x08, 0x05, 0xC2, 0x3E, 0x00], Request::Unknown { sequence: 5 });
    }

    #[test]
    fn the_last_command_counts_known_or_not() {
        let ping = request(5, Req::CmdPing(CmdPing::default()));
        check(&[&ping[..], &[0xC2, 0x3E, 0x00]].concat(), Request::Unknown { sequence: 5 });
        let want = Request::Ping { sequence: 5, state: Bytes::new() };
        check(&[&[0xC2, 0x3E, 0x00], &ping[..]].concat(), want);
    }

    #[test]
    fn bytes_that_are_no_request_are_wrong() {
        for bytes in [&[0xFF][..], &[0x08], &[0x82, 0x02, 0x05, 0x00], b"hello, world"] {
            check(bytes, Request::Wrong);
        }
    }
}
