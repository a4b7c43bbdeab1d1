//! The protocol between clients, gateways and the bridge.
//!
//! 1. [`PubSubReq`] and [`PubSubResp`]: the messages of `proto/pubsub.proto`, the same bytes in a WebSocket binary
//!    message and in a gRPC message
//! 2. [`grpc`]: the five bytes in front of a message on a gRPC stream
//! 3. [`metadata`]: the headers in which a gateway tells the bridge about a request, with messages of
//!    `proto/gateway.proto`
//! 4. [`definition`]: a cluster that a gateway's route carries, in one of these headers
//! 5. [`CONTROL_PREFIX`]: distinguishes answers for the gateway from answers for the client
//! 6. [`codec`]: sessions whose commands and answers are JSON
//! 7. [`jsonkey`]: the paths of [`HttpProduce::jsonkey`]
//! 8. [`error_code`]: the codes of errors
//! 9. [`wire`]: scans the fields of a message without decoding it

#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

pub mod codec;
pub mod definition;
pub mod error_code;
pub mod grpc;
pub mod jsonkey;
pub mod metadata;
pub mod wire;

#[cfg(not(target_family = "wasm"))]
#[cfg(test)]
mod contract;

#[expect(missing_docs, reason = "generated; proto/ documents what has a meaning of its own")]
#[rustfmt::skip]
#[path = "generated/sluicegate.v1.rs"]
mod generated;

pub use generated::*;

/// The first bytes of every control message, and of no other: field 1001 (`control`), length-delimited.
pub const CONTROL_PREFIX: [u8; 2] = [0xCA, 0x3E];

/// The header that carries [`PublishMessage::message_id`].
pub const MESSAGE_ID_HEADER: &str = "Nats-Msg-Id";

/// Whether a header of a NATS message says that it removes its subject: the operation of a client of key-value buckets,
/// or a marker of the server (NATS ADR-8 and ADR-43).
pub fn is_removal_header(name: &[u8], value: Option<&[u8]>) -> bool {
    let (operation, _) = REMOVAL_HEADER;
    name == b"Nats-Marker-Reason" || name == operation.as_bytes() && matches!(value, Some(b"DEL" | b"PURGE"))
}

/// Whether a NATS message with these headers removes its subject.
pub fn is_removal_among(headers: &[Header]) -> bool {
    headers.iter().any(|header| is_removal_header(header.key.as_bytes(), header.value.as_deref()))
}

/// The name and the value of one such header.
pub const REMOVAL_HEADER: (&str, &str) = ("KV-Operation", "DEL");

/// The path of the bidirectional session stream, for gRPC and for extended CONNECT.
pub const SESSION_PATH: &str = "/sluicegate.v1.Bridge/Session";

/// The beginning of all paths of the bridge's own services, which clients cannot reach.
pub const SERVICE_PATH_PREFIX: &str = "/sluicegate.v1.";

impl SchemaType {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Avro, Self::Protobuf, Self::JsonSchema];

    /// The name that registries use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Avro => "AVRO",
            Self::Protobuf => "PROTOBUF",
            Self::JsonSchema => "JSON",
        }
    }
}

/// The latest schema of this subject.
impl From<&str> for SchemaChoice {
    fn from(subject: &str) -> Self {
        Self { of: Some(schema_choice::Of::Subject(subject.to_owned())) }
    }
}

/// The schema with this id.
impl From<u32> for SchemaChoice {
    fn from(id: u32) -> Self {
        Self { of: Some(schema_choice::Of::Id(id)) }
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn control_answer_begins_with_the_prefix() {
        let close = Close { code: 1001, reason: "drain".into() };
        let control = ControlResp { control: Some(control_resp::Control::Close(close)) };
        let answer = PubSubResp { sequence: 0, resp: Some(pub_sub_resp::Resp::Control(control)) };
        assert_eq!(answer.encode_to_vec()[..2], CONTROL_PREFIX);
    }

    #[test]
    fn other_answers_do_not_begin_with_the_prefix() {
        use pub_sub_resp::Resp;
        let answers = [
            Resp::ErrorResp(ErrorResp::default()),
            Resp::PongResp(PongResp::default()),
            Resp::KafkaFetchResp(KafkaFetchResp::default()),
            Resp::KafkaListOffsetResp(KafkaListOffsetResp::default()),
            Resp::KafkaProduceResp(KafkaProduceResp::default()),
            Resp::SessionResp(SessionResp::default()),
        ];
        for resp in answers {
            for sequence in [0, 1, -1, i64::MAX] {
                let bytes = PubSubResp { sequence, resp: Some(resp.clone()) }.encode_to_vec();
                assert_ne!(bytes.get(..2), Some(&CONTROL_PREFIX[..]), "{resp:?} with sequence {sequence}");
            }
        }
    }
}
