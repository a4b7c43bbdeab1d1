//! Parses an inbound message into a request.

use bytes::Bytes;
use prost::Message;
use sluicegate_protocol::codec::Codec;
use sluicegate_protocol::control_req::Control;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::{
    CONTROL_PREFIX, CmdCredit, CmdKafkaSubscribe, CmdUnsubscribe, ControlReq, PubSubReq,
};
use sluicegate_ws_session::request::{Command as Known, Request as Checked};

use super::command::{Command, Encoding};
use super::command_limits::Counts;
use super::json;
use crate::metrics::Kind;

/// A checked request.
#[derive(Debug, PartialEq)]
pub(super) enum Request {
    /// Answered by the session itself.
    Ping { sequence: i64, state: Bytes },
    /// Answered by the cluster.
    Command { sequence: i64, command: Command, encoding: Encoding },
    /// Begins a subscription.
    Subscribe { sequence: i64, command: CmdKafkaSubscribe, encoding: Encoding },
    /// Ends the subscription with this sequence.
    Unsubscribe { sequence: i64, subscription: i64 },
    /// Lets a subscription deliver more.
    Credit(CmdCredit),
    /// A command that is not valid, or beyond the limits.
    Invalid { sequence: i64, kind: Kind, message: String },
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
    pub(super) fn parse(message: Bytes, codec: Codec) -> Self {
        // A gateway's own messages have no field but `control`. A client's message cannot start with it: the gateway
        // refuses that.
        if !message.starts_with(&CONTROL_PREFIX) {
            if codec == Codec::Json {
                return json::parse(&message);
            }
            let mut counts = Counts::default();
            match Checked::scan(&message, |command, content| counts.add(command, content)) {
                Checked::Nothing => return Self::Nothing,
                Checked::Unknown { sequence } => return Self::Unknown { sequence },
                Checked::Wrong => return Self::Wrong,
                Checked::Command { sequence, command } => {
                    if let Some(exceeded) = counts.exceeded() {
                        return Self::Invalid { sequence, kind: kind(command), message: exceeded };
                    }
                }
            }
        }
        let Ok(PubSubReq { sequence, req }) = PubSubReq::decode(message) else { return Self::Wrong };
        let run = |command| Self::Command { sequence, command, encoding: Encoding::Protobuf };
        match req {
            Some(Req::CmdPing(ping)) => Self::Ping { sequence, state: ping.state },
            Some(Req::CmdKafkaFetch(fetch)) => run(Command::Fetch(fetch)),
            Some(Req::CmdKafkaListOffset(list)) => run(Command::ListOffset(list)),
            Some(Req::CmdKafkaProduce(produce)) => run(Command::Produce(produce)),
            Some(Req::CmdKafkaMultiFetch(fetch)) => run(Command::MultiFetch(fetch)),
            Some(Req::CmdKafkaListOffsets(list)) => run(Command::ListOffsets(list)),
            Some(Req::CmdKafkaMetadata(metadata)) => run(Command::Metadata(metadata)),
            Some(Req::Control(ControlReq { control: Some(control) })) => Self::Control(control),
            Some(Req::CmdKafkaSubscribe(command)) => {
                Self::Subscribe { sequence, command, encoding: Encoding::Protobuf }
            }
            Some(Req::CmdUnsubscribe(CmdUnsubscribe { subscription })) => {
                Self::Unsubscribe { sequence, subscription }
            }
            Some(Req::CmdCredit(credit)) => Self::Credit(credit),
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
        Known::KafkaSubscribe | Known::Unsubscribe | Known::Credit => Kind::Subscribe,
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
        assert_eq!(Request::parse(Bytes::copy_from_slice(message), Codec::Protobuf), want, "{message:?}");
    }

    #[test]
    fn each_command_is_parsed() {
        let ping = CmdPing { state: "s".into() };
        check(&request(7, Req::CmdPing(ping)), Request::Ping { sequence: 7, state: "s".into() });
        let fetch = CmdKafkaFetch { topic: "t".into(), partition: 1, offset: 2, ..Default::default() };
        let command = Command::Fetch(fetch.clone());
        let want = Request::Command { sequence: 8, command, encoding: Encoding::Protobuf };
        check(&request(8, Req::CmdKafkaFetch(fetch)), want);
        check(&request(9, Req::CmdEmpty(CmdEmpty {})), Request::Unknown { sequence: 9 });
        let control = ControlReq { control: Some(Control::Alive("x".into())) };
        check(&request(0, Req::Control(control)), Request::Control(Control::Alive("x".into())));
    }

    #[test]
    fn produce_beyond_the_limits_is_not_decoded() {
        let records = vec![ProduceRecord::default(); 1001];
        let message = "1001 records in one command: expected at most 1000".to_owned();
        let produce = request(-7, Req::CmdKafkaProduce(CmdKafkaProduce { records }));
        check(&produce, Request::Invalid { sequence: -7, kind: Kind::Produce, message });
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
