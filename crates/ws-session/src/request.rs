//! The command of a message, by its outermost fields alone.

use sluicegate_protocol::Refusal;
use sluicegate_protocol::wire::number::{
    CMD_AUTH, CMD_CREDIT, CMD_EMPTY, CMD_KAFKA_COMMIT, CMD_KAFKA_FETCH, CMD_KAFKA_LIST_OFFSET,
    CMD_KAFKA_LIST_OFFSETS, CMD_KAFKA_PRODUCE, CMD_KAFKA_SUBSCRIBE, CMD_NATS_FETCH, CMD_NATS_LIST_SEQUENCES,
    CMD_NATS_PUBLISH, CMD_NATS_SUBSCRIBE, CMD_PING, CMD_SESSION, CMD_UNSUBSCRIBE, CONTROL, KAFKA_METADATA,
    KAFKA_MULTI_FETCH, SEQUENCE,
};
use sluicegate_protocol::wire::{Fields, Malformed, Value};

/// A command that the bridge knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// `cmd_ping`
    Ping,
    /// `cmd_kafka_fetch`
    KafkaFetch,
    /// `cmd_kafka_list_offset`
    KafkaListOffset,
    /// `cmd_kafka_produce`
    KafkaProduce,
    /// `cmd_kafka_multi_fetch`
    KafkaMultiFetch,
    /// `cmd_kafka_list_offsets`
    KafkaListOffsets,
    /// `cmd_kafka_metadata`
    KafkaMetadata,
    /// `cmd_kafka_subscribe`
    KafkaSubscribe,
    /// `cmd_unsubscribe`
    Unsubscribe,
    /// `cmd_credit`
    Credit,
    /// `cmd_nats_fetch`
    NatsFetch,
    /// `cmd_nats_list_sequences`
    NatsListSequences,
    /// `cmd_nats_subscribe`
    NatsSubscribe,
    /// `cmd_nats_publish`
    NatsPublish,
    /// `cmd_session`
    Session,
    /// `cmd_auth`
    Auth,
    /// `cmd_kafka_commit`
    KafkaCommit,
}

impl Command {
    /// The command of a field of `PubSubReq`.
    fn of(number: u32) -> Option<Self> {
        Some(match number {
            CMD_PING => Self::Ping,
            CMD_KAFKA_FETCH => Self::KafkaFetch,
            CMD_KAFKA_LIST_OFFSET => Self::KafkaListOffset,
            CMD_KAFKA_PRODUCE => Self::KafkaProduce,
            KAFKA_MULTI_FETCH => Self::KafkaMultiFetch,
            CMD_KAFKA_LIST_OFFSETS => Self::KafkaListOffsets,
            KAFKA_METADATA => Self::KafkaMetadata,
            CMD_KAFKA_SUBSCRIBE => Self::KafkaSubscribe,
            CMD_UNSUBSCRIBE => Self::Unsubscribe,
            CMD_CREDIT => Self::Credit,
            CMD_NATS_FETCH => Self::NatsFetch,
            CMD_NATS_LIST_SEQUENCES => Self::NatsListSequences,
            CMD_NATS_SUBSCRIBE => Self::NatsSubscribe,
            CMD_NATS_PUBLISH => Self::NatsPublish,
            CMD_SESSION => Self::Session,
            CMD_AUTH => Self::Auth,
            CMD_KAFKA_COMMIT => Self::KafkaCommit,
            _ => return None,
        })
    }
}

/// A message, by its command.
#[derive(Debug, PartialEq, Eq)]
pub enum Request {
    /// Forward it to the bridge unchanged.
    Command {
        /// The request's sequence.
        sequence: i64,
        /// The command.
        command: Command,
    },
    /// It has no command and gets no answer.
    Nothing,
    /// Its command is unknown to this version, or reserved for gateways.
    Unknown {
        /// The request's sequence.
        sequence: i64,
    },
    /// It is not a `PubSubReq`.
    Wrong,
}

impl Request {
    /// Parses the outermost fields of a `PubSubReq`.
    ///
    /// A field other than `sequence` is a command. The last one counts (Protocol Buffers, "Oneof"). A field reserved
    /// for gateways anywhere makes it [`Request::Unknown`]. The content of a command is not checked.
    pub fn parse(message: &[u8]) -> Self {
        Self::scan(message, |_, _| Ok(()))
    }

    /// As [`Request::parse`], and shows each known command with its content to `look` on the way. There can be several
    /// of one kind, which a decoder would merge.
    pub fn scan(message: &[u8], look: impl FnMut(Command, &[u8]) -> Result<(), Malformed>) -> Self {
        Self::try_scan(message, look).unwrap_or(Self::Wrong)
    }

    /// The refusal to send to the bridge instead of the request, if it is refused.
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Command { .. } | Self::Nothing => None,
            Self::Unknown { sequence } => Some(Refusal { sequence: *sequence, message: UNKNOWN.into() }),
            Self::Wrong => Some(Refusal { sequence: 0, message: WRONG.into() }),
        }
    }

    fn try_scan(
        message: &[u8],
        mut look: impl FnMut(Command, &[u8]) -> Result<(), Malformed>,
    ) -> Result<Self, Malformed> {
        let mut sequence = 0;
        let mut last = None;
        let mut of_gateway = false;
        for field in Fields::of(message) {
            match field? {
                (SEQUENCE, Value::Varint(value)) => sequence = value.cast_signed(),
                (SEQUENCE, _) | (CMD_EMPTY, Value::Varint(_) | Value::Fixed) => return Err(Malformed),
                (CONTROL, Value::Bytes(_)) => of_gateway = true,
                (CONTROL, Value::Varint(_) | Value::Fixed) => return Err(Malformed),
                (number, value) => {
                    let command = Command::of(number);
                    match (command, value) {
                        (Some(command), Value::Bytes(content)) => look(command, content)?,
                        (Some(_), Value::Varint(_) | Value::Fixed) => return Err(Malformed),
                        (None, _) => {}
                    }
                    last = Some(command);
                }
            }
        }
        Ok(match last {
            _ if of_gateway => Self::Unknown { sequence },
            None => Self::Nothing,
            Some(Some(command)) => Self::Command { sequence, command },
            Some(None) => Self::Unknown { sequence },
        })
    }
}

/// Answer to a command that this version does not know; APISIX's own words.
pub const UNKNOWN: &str = "unknown command";

/// Answer to bytes that are no request; APISIX's own words.
pub const WRONG: &str = "wrong command";

#[cfg(test)]
mod tests {
    use prost::Message;
    use sluicegate_protocol::pub_sub_req::Req;
    use sluicegate_protocol::{CmdEmpty, CmdPing, ControlReq, PubSubReq, control_req};

    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn wire(sequence: i64, req: Option<Req>) -> Vec<u8> {
        PubSubReq { sequence, req }.encode_to_vec()
    }

    fn ping() -> Option<Req> {
        Some(Req::CmdPing(CmdPing { state: "state".into() }))
    }

    /// Request to the bridge.
    fn command(req: &Req) -> Option<Command> {
        Some(match req {
            Req::CmdPing(_) => Command::Ping,
            Req::CmdKafkaFetch(_) => Command::KafkaFetch,
            Req::CmdKafkaListOffset(_) => Command::KafkaListOffset,
            Req::CmdKafkaProduce(_) => Command::KafkaProduce,
            Req::CmdKafkaMultiFetch(_) => Command::KafkaMultiFetch,
            Req::CmdKafkaListOffsets(_) => Command::KafkaListOffsets,
            Req::CmdKafkaMetadata(_) => Command::KafkaMetadata,
            Req::CmdKafkaSubscribe(_) => Command::KafkaSubscribe,
            Req::CmdUnsubscribe(_) => Command::Unsubscribe,
            Req::CmdCredit(_) => Command::Credit,
            Req::CmdNatsFetch(_) => Command::NatsFetch,
            Req::CmdNatsListSequences(_) => Command::NatsListSequences,
            Req::CmdNatsSubscribe(_) => Command::NatsSubscribe,
            Req::CmdNatsPublish(_) => Command::NatsPublish,
            Req::CmdSession(_) => Command::Session,
            Req::CmdAuth(_) => Command::Auth,
            Req::CmdKafkaCommit(_) => Command::KafkaCommit,
            Req::CmdEmpty(_) | Req::Control(_) => return None,
        })
    }

    #[test]
    fn each_known_command_is_forwarded_and_no_other() {
        for number in 2..2_000_u32 {
            let mut bytes = wire(7, None);
            prost::encoding::encode_varint(u64::from(number << 3 | 2), &mut bytes);
            bytes.push(0);
            let decoded = PubSubReq::decode(&bytes[..]).unwrap();
            let want = match decoded.req.as_ref().and_then(command) {
                Some(command) => Request::Command { sequence: 7, command },
                None => Request::Unknown { sequence: 7 },
            };
            assert_eq!(Request::parse(&bytes), want, "field {number}");
        }
    }

    #[test]
    fn unknown_commands_are_refused_with_their_sequence() {
        let unknown = Request::Unknown { sequence: -7 };
        assert_eq!(Request::parse(&wire(-7, Some(Req::CmdEmpty(CmdEmpty {})))), unknown);
        for field in [
            &[0x12, 0][..],
            &[0x9A, 0x02, 1, 0x55],
            &[0xC0, 0x0C, 1],
            &[0x15, 1, 2, 3, 4],
            &[0x99, 0x02, 1, 2, 3, 4, 5, 6, 7, 8],
            &[0xFA, 0xFF, 0xFF, 0xFF, 0x0F, 0],
            // The tag of a control message, in more bytes than needed.
            &[0xCA, 0xBE, 0x80, 0, 0],
        ] {
            let wire = [&wire(-7, None), field].concat();
            assert_eq!(Request::parse(&wire), unknown, "{field:x?}");
        }
        assert_eq!(unknown.refusal(), Some(Refusal { sequence: -7, message: "unknown command".into() }));
    }

    #[test]
    fn last_of_two_commands_counts() {
        let empty = wire(0, Some(Req::CmdEmpty(CmdEmpty {})));
        let last_empty = [wire(1, ping()), empty.clone()].concat();
        assert_eq!(Request::parse(&last_empty), Request::Unknown { sequence: 1 });
        let want = Request::Command { sequence: 1, command: Command::Ping };
        assert_eq!(Request::parse(&[empty, wire(1, ping())].concat()), want);
    }

    #[test]
    fn clients_control_message_is_unknown_anywhere() {
        let close = ControlReq { control: Some(control_req::Control::Pong("x".into())) };
        let control = wire(3, Some(Req::Control(close)));
        let unknown = Request::Unknown { sequence: 3 };
        assert_eq!(Request::parse(&control), unknown);
        assert_eq!(Request::parse(&[control.clone(), wire(3, ping())].concat()), unknown);
        assert_eq!(Request::parse(&[wire(3, ping()), control].concat()), unknown);
    }

    #[test]
    fn other_bytes_are_wrong() {
        let trailing = [wire(7, ping()), b"\x08".to_vec()].concat();
        for bytes in [
            &b"garbage"[..],
            b"{\"sequence\": 7}",
            b"\0\0",
            b"\x0A\x01x",
            b"\x09\0\0\0\0\0\0\0\0",
            b"\x92\x02\x05a",
            b"\x80\x02\x05",
            b"\x08\x07\x83\x02\x84\x02",
            b"\x82\x02\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
            &[0x80; 11],
            &[0xFF; 40],
            &trailing,
        ] {
            assert_eq!(Request::parse(bytes), Request::Wrong, "{bytes:x?}");
        }
        assert_eq!(Request::Wrong.refusal(), Some(Refusal { sequence: 0, message: "wrong command".into() }));
    }

    #[test]
    fn cut_request_is_never_a_command() {
        let whole = wire(7, ping());
        for cut in 0..whole.len() {
            let judged = Request::parse(&whole[..cut]);
            assert!(matches!(judged, Request::Wrong | Request::Nothing), "cut at byte {cut}: {judged:?}");
        }
    }

    /// One invariant, for every input: what goes to the bridge as a command is a command there too.
    #[cfg(not(target_family = "wasm"))]
    mod property {
        use proptest::prelude::*;

        use super::*;

        fn check(bytes: &[u8]) {
            let judged = Request::parse(bytes);
            let Ok(decoded) = PubSubReq::decode(bytes) else { return };
            match (judged, decoded.req) {
                (Request::Nothing, None) | (Request::Unknown { .. } | Request::Wrong, _) => {}
                (Request::Command { command: judged, .. }, Some(req)) if command(&req) == Some(judged) => {}
                (judged, req) => panic!("{judged:?} but the bridge reads {req:?} from {bytes:x?}"),
            }
        }

        proptest! {
            #[test]
            fn bridge_sees_the_same_command(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
                check(&bytes);
            }

            #[test]
            fn bridge_sees_the_same_command_in_random_fields(
                fields in prop::collection::vec((prop::sample::select(vec![1_u32, 2, 31, 32, 33, 34, 35, 1000, 1001,
                    1002, 1003, 1004, 1005, 1006, 1007, 1008, 1009, 1012, 1013, 1014, 1015, 1018, 1021]),
                    prop::sample::select(vec![0_u32, 1, 2, 5]), prop::collection::vec(any::<u8>(), 0..6)), 0..5),
            ) {
                let mut bytes = Vec::new();
                for (number, kind, payload) in fields {
                    prost::encoding::encode_varint(u64::from(number << 3 | kind), &mut bytes);
                    match kind {
                        0 => bytes.push(5),
                        1 => bytes.extend_from_slice(&[0; 8]),
                        2 => {
                            bytes.push(payload.len() as u8);
                            bytes.extend_from_slice(&payload);
                        }
                        _ => bytes.extend_from_slice(&[0; 4]),
                    }
                }
                check(&bytes);
            }
        }
    }
}
