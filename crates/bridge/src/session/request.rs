//! Parses an inbound message into a request.

use bytes::Bytes;
use prost::Message;
use sluicegate_protocol::control_req::Control;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::{CONTROL_PREFIX, ControlReq, PubSubReq};
use sluicegate_ws_session::request::{Command as Known, Request as Checked};

use super::command::Command;
use super::command_limits::Counts;
use crate::metrics::Kind;

/// A checked request.
#[derive(Debug, PartialEq)]
pub(super) enum Request {
    /// Answered by the session itself.
    Ping { sequence: i64, state: Bytes },
    /// Answered by the cluster.
    Command { sequence: i64, command: Command },
    /// A command beyond the limits.
    TooMany { sequence: i64, kind: Kind, exceeded: String },
    /// A control message of the gateway.
    Control(Control),
    /// Has no command, and gets no answer.
    Nothing,
    /// Has a command that this version does not know.
    Unknown { sequence: i64 },
    /// Not a `PubSubReq`.
    Wrong,
}

impl Request {
    /// Scans a message, and decodes it if it is within bounds.
    pub(super) fn parse(message: Bytes) -> Self {
        // A gateway's own messages have no field but `control`. A client's message cannot start with it: the gateway
        // refuses that.
        if !message.starts_with(&CONTROL_PREFIX) {
            let mut counts = Counts::default();
            match Checked::scan(&message, |command, content| counts.add(command, content)) {
                Checked::Nothing => return Self::Nothing,
                Checked::Unknown { sequence } => return Self::Unknown { sequence },
                Checked::Wrong => return Self::Wrong,
                Checked::Command { sequence, command } => {
                    if let Some(exceeded) = counts.exceeded() {
                        return Self::TooMany { sequence, kind: kind(command), exceeded };
                    }
                }
            }
        }
        let Ok(PubSubReq { sequence, req }) = PubSubReq::decode(message) else { return Self::Wrong };
        match req {
            Some(Req::CmdPing(ping)) => Self::Ping { sequence, state: ping.state },
            Some(Req::CmdKafkaFetch(fetch)) => Self::Command { sequence, command: Command::Fetch(fetch) },
            Some(Req::CmdKafkaListOffset(list)) => {
                Self::Command { sequence, command: Command::ListOffset(list) }
            }
            Some(Req::CmdKafkaProduce(produce)) => {
                Self::Command { sequence, command: Command::Produce(produce) }
            }
            Some(Req::CmdKafkaMultiFetch(fetch)) => {
                Self::Command { sequence, command: Command::MultiFetch(fetch) }
            }
            Some(Req::CmdKafkaListOffsets(list)) => {
                Self::Command { sequence, command: Command::ListOffsets(list) }
            }
            Some(Req::CmdKafkaMetadata(metadata)) => {
                Self::Command { sequence, command: Command::Metadata(metadata) }
            }
            Some(Req::Control(ControlReq { control: Some(control) })) => Self::Control(control),
            Some(Req::CmdEmpty(_) | Req::Control(ControlReq { control: None })) | None => {
                Self::Unknown { sequence }
            }
        }
    }
}

fn kind(command: Known) -> Kind {
    match command {
        Known::Ping => Kind::Ping,
        Known::KafkaFetch => Kind::Fetch,
        Known::KafkaListOffset => Kind::ListOffset,
        Known::KafkaProduce => Kind::Produce,
        Known::KafkaMultiFetch => Kind::MultiFetch,
        Known::KafkaListOffsets => Kind::ListOffsets,
        Known::KafkaMetadata => Kind::Topics,
    }
}

#[cfg(test)]
mod tests {
    use sluicegate_protocol::{CmdEmpty, CmdKafkaFetch, CmdKafkaProduce, CmdPing, ProduceRecord};

    use super::*;

    fn request(sequence: i64, req: Req) -> Vec<u8> {
        PubSubReq { sequence, req: Some(req) }.encode_to_vec()
    }

    #[track_caller]
    fn check(message: &[u8], want: Request) {
        assert_eq!(Request::parse(Bytes::copy_from_slice(message)), want, "{message:?}");
    }

    #[test]
    fn each_command_is_parsed() {
        let ping = CmdPing { state: "s".into() };
        check(&request(7, Req::CmdPing(ping)), Request::Ping { sequence: 7, state: "s".into() });
        let fetch = CmdKafkaFetch { topic: "t".into(), partition: 1, offset: 2, ..Default::default() };
        let command = Command::Fetch(fetch.clone());
        check(&request(8, Req::CmdKafkaFetch(fetch)), Request::Command { sequence: 8, command });
        check(&request(9, Req::CmdEmpty(CmdEmpty {})), Request::Unknown { sequence: 9 });
        let control = ControlReq { control: Some(Control::Alive("x".into())) };
        check(&request(0, Req::Control(control)), Request::Control(Control::Alive("x".into())));
    }

    #[test]
    fn produce_beyond_the_limits_is_not_decoded() {
        let records = vec![ProduceRecord::default(); 1001];
        let exceeded = "1001 records in one command: expected at most 1000".to_owned();
        let produce = request(-7, Req::CmdKafkaProduce(CmdKafkaProduce { records }));
        check(&produce, Request::TooMany { sequence: -7, kind: Kind::Produce, exceeded });
    }

    #[test]
    fn control_message_with_a_sequence_is_unknown() {
        let control = ControlReq { control: Some(Control::Alive("x".into())) };
        check(&request(9, Req::Control(control)), Request::Unknown { sequence: 9 });
    }

    #[test]
    fn request_without_a_command_is_nothing() {
        check(&[], Request::Nothing);
        check(&[0x08, 0x05], Request::Nothing);
    }

    #[test]
    fn command_of_another_version_is_unknown() {
        check(&[0x08, 0x05, 0xC2, 0x3E, 0x00], Request::Unknown { sequence: 5 });
    }

    #[test]
    fn last_command_counts_even_if_unknown() {
        let ping = request(5, Req::CmdPing(CmdPing::default()));
        check(&[&ping[..], &[0xC2, 0x3E, 0x00]].concat(), Request::Unknown { sequence: 5 });
        let want = Request::Ping { sequence: 5, state: Bytes::new() };
        check(&[&[0xC2, 0x3E, 0x00], &ping[..]].concat(), want);
    }

    #[test]
    fn invalid_bytes_are_wrong() {
        for bytes in [&[0xFF][..], &[0x08], &[0x82, 0x02, 0x05, 0x00], b"hello, world"] {
            check(bytes, Request::Wrong);
        }
    }
}
