//! Protobuf's wire format (Protocol Buffers, "Encoding"): the fields of a message, without decoding it.

use prost::encoding::decode_varint;

/// The content of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// Wire type 0.
    Varint(u64),
    /// Wire types 1 and 5: 64 or 32 bits.
    Fixed,
    /// Wire type 2: a string, bytes or a message.
    Bytes(&'a [u8]),
}

/// Not a proto3 message. Groups, which proto3 does not have, are an error, because decoders skip their contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// The fields of a message in their order, each with its number. Ends after an error.
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// The fields of `message`.
    #[inline]
    pub fn of(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// The fields that were not taken yet, encoded.
    #[inline]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    fn take(&mut self) -> Option<(u32, Value<'a>)> {
        let key = u32::try_from(self.varint()?).ok()?;
        let number = key >> 3;
        if number == 0 {
            return None;
        }
        let len = match key & 7 {
            0 => return Some((number, Value::Varint(self.varint()?))),
            2 => usize::try_from(self.varint()?).ok()?,
            1 => 8,
            5 => 4,
            _ => return None,
        };
        let (value, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some((number, if key & 7 == 2 { Value::Bytes(value) } else { Value::Fixed }))
    }

    /// Most are short.
    #[inline]
    fn varint(&mut self) -> Option<u64> {
        let (value, rest) = match self.rest {
            [byte @ ..=0x7f, rest @ ..] => (u64::from(*byte), rest),
            [low, high @ ..=0x7f, rest @ ..] => (u64::from(low & 0x7f) | u64::from(*high) << 7, rest),
            _ => return decode_varint(&mut self.rest).ok(),
        };
        self.rest = rest;
        Some(value)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Value<'a>), Malformed>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.take().ok_or(Malformed);
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

/// The name and the value of a `Header` that was encoded here.
pub fn header(encoded: &[u8]) -> (&[u8], Option<&[u8]>) {
    let (mut name, mut value) = (&[][..], None);
    for field in Fields::of(encoded).flatten() {
        match field {
            (number::HEADER_KEY, Value::Bytes(content)) => name = content,
            (number::HEADER_VALUE, Value::Bytes(content)) => value = Some(content),
            _ => {}
        }
    }
    (name, value)
}

/// The numbers of fields that are handled without decoding their message.
pub mod number {
    /// `PubSubReq.sequence` and `PubSubResp.sequence`.
    pub const SEQUENCE: u32 = 1;
    /// `PubSubReq.cmd_empty`.
    pub const CMD_EMPTY: u32 = 31;
    /// `PubSubReq.cmd_ping`.
    pub const CMD_PING: u32 = 32;
    /// `PubSubReq.cmd_kafka_fetch`.
    pub const CMD_KAFKA_FETCH: u32 = 33;
    /// `PubSubReq.cmd_kafka_list_offset`.
    pub const CMD_KAFKA_LIST_OFFSET: u32 = 34;
    /// `PubSubReq.control` and `PubSubResp.control`.
    pub const CONTROL: u32 = 1001;
    /// `PubSubReq.cmd_kafka_produce`.
    pub const CMD_KAFKA_PRODUCE: u32 = 1002;
    /// `PubSubReq.cmd_kafka_multi_fetch` and `PubSubResp.kafka_multi_fetch_resp`.
    pub const KAFKA_MULTI_FETCH: u32 = 1004;
    /// `PubSubReq.cmd_kafka_list_offsets`.
    pub const CMD_KAFKA_LIST_OFFSETS: u32 = 1005;
    /// `PubSubReq.cmd_kafka_metadata` and `PubSubResp.kafka_metadata_resp`.
    pub const KAFKA_METADATA: u32 = 1006;
    /// `PubSubReq.cmd_kafka_subscribe`.
    pub const CMD_KAFKA_SUBSCRIBE: u32 = 1007;
    /// `PubSubReq.cmd_unsubscribe`.
    pub const CMD_UNSUBSCRIBE: u32 = 1008;
    /// `PubSubReq.cmd_credit`.
    pub const CMD_CREDIT: u32 = 1009;
    /// `PubSubReq.cmd_nats_fetch`.
    pub const CMD_NATS_FETCH: u32 = 1012;
    /// `PubSubReq.cmd_nats_list_sequences`.
    pub const CMD_NATS_LIST_SEQUENCES: u32 = 1013;
    /// `PubSubReq.cmd_nats_subscribe`.
    pub const CMD_NATS_SUBSCRIBE: u32 = 1014;
    /// `PubSubReq.cmd_nats_publish`.
    pub const CMD_NATS_PUBLISH: u32 = 1015;
    /// `PubSubReq.cmd_session`.
    pub const CMD_SESSION: u32 = 1018;
    /// `PubSubReq.cmd_auth`.
    pub const CMD_AUTH: u32 = 1019;
    /// `PubSubReq.cmd_kafka_commit`.
    pub const CMD_KAFKA_COMMIT: u32 = 1021;
    /// `PubSubResp.nats_fetch_resp`.
    pub const NATS_FETCH_RESP: u32 = 1012;
    /// `PubSubResp.nats_delivery_resp`.
    pub const NATS_DELIVERY_RESP: u32 = 1016;
    /// `PubSubResp.kafka_delivery_resp`.
    pub const KAFKA_DELIVERY_RESP: u32 = 1010;
    /// `PubSubResp.kafka_fetch_resp`.
    pub const KAFKA_FETCH_RESP: u32 = 33;
    /// `CmdKafkaProduce.records`.
    pub const RECORDS: u32 = 1;
    /// `CmdKafkaMultiFetch.partitions`.
    pub const PARTITIONS: u32 = 1;
    /// `CmdKafkaListOffsets.offsets`.
    pub const OFFSETS: u32 = 1;
    /// `CmdKafkaCommit.offsets`.
    pub const COMMIT_OFFSETS: u32 = 2;
    /// `CmdKafkaMetadata.topics` and `KafkaMetadataResp.topics`.
    pub const TOPICS: u32 = 1;
    /// `CmdKafkaMetadata.prefixes`.
    pub const PREFIXES: u32 = 2;
    /// `PartitionFetched.fetched`.
    pub const FETCHED: u32 = 1;
    /// `KafkaMultiFetchResp.results`.
    pub const RESULTS: u32 = 1;
    /// `KafkaFetchResp.messages` and `KafkaDeliveryResp.messages`.
    pub const MESSAGES: u32 = 1;
    /// `KafkaMessage.offset`.
    pub const MESSAGE_OFFSET: u32 = 1;
    /// `KafkaMessage.timestamp`.
    pub const MESSAGE_TIMESTAMP: u32 = 2;
    /// `KafkaMessage.key`.
    pub const MESSAGE_KEY: u32 = 3;
    /// `KafkaMessage.value`.
    pub const MESSAGE_VALUE: u32 = 4;
    /// `KafkaMessage.headers`.
    pub const MESSAGE_HEADERS: u32 = 1001;
    /// `KafkaMessage.value_schema`.
    pub const MESSAGE_VALUE_SCHEMA: u32 = 1004;
    /// `KafkaMessage.key_schema`.
    pub const MESSAGE_KEY_SCHEMA: u32 = 1005;
    /// `KafkaMessage.key_json`.
    pub const MESSAGE_KEY_JSON: u32 = 1006;
    /// `KafkaMessage.not_decoded`.
    pub const MESSAGE_NOT_DECODED: u32 = 1007;
    /// `Header.key`.
    pub const HEADER_KEY: u32 = 1;
    /// `Header.value`.
    pub const HEADER_VALUE: u32 = 2;
    /// `CmdKafkaSubscribe.sources`.
    pub const SOURCES: u32 = 1;
    /// `CmdKafkaSubscribe.filters`.
    pub const FILTERS: u32 = 3;
    /// `CmdKafkaFetch.filters`.
    pub const FETCH_FILTERS: u32 = 1007;
    /// `CmdKafkaMultiFetch.filters`.
    pub const MULTI_FETCH_FILTERS: u32 = 7;
    /// `KafkaSource.next`.
    pub const NEXT: u32 = 5;
    /// `RecordFilter.equals`.
    pub const EQUALS: u32 = 2;
    /// `RecordFilter.prefixes`.
    pub const PREFIXES_OF_FILTER: u32 = 3;
    /// `ProduceRecord.headers`.
    pub const HEADERS: u32 = 5;
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[track_caller]
    fn check(message: &[u8], want: &[Result<(u32, Value<'_>), Malformed>]) {
        assert_eq!(Fields::of(message).collect::<Vec<_>>(), want, "{message:x?}");
    }

    #[test]
    fn fields_come_in_their_order() {
        check(b"", &[]);
        let message = [&[0x08, 0x96, 0x01][..], &[0x12, 2, b'a', b'b'], &[0x19], &[0; 8], &[0x25], &[0; 4]];
        let want = [
            Ok((1, Value::Varint(150))),
            Ok((2, Value::Bytes(b"ab"))),
            Ok((3, Value::Fixed)),
            Ok((4, Value::Fixed)),
        ];
        check(&message.concat(), &want);
    }

    #[test]
    fn malformed_field_is_the_last() {
        for bytes in [
            &b"\x08"[..],
            b"\xff",
            b"\x00\x00",
            b"\x09\x01",
            b"\x12\x05a",
            b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x0b\x0c",
            &[0xFF; 11],
        ] {
            check(bytes, &[Err(Malformed)]);
            check(&[b"\x08\x05", bytes].concat(), &[Ok((1, Value::Varint(5))), Err(Malformed)]);
        }
    }
}
