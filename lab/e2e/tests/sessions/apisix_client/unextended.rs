//! The messages of APISIX's own `pubsub.proto`, by its numbers: nothing from 1001 on, and no `optional`.

use prost::{Message, Oneof};

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PubSubReq {
    #[prost(int64, tag = 1)]
    pub(crate) sequence: i64,
    #[prost(oneof = "Req", tags = "31, 32, 33, 34")]
    pub(crate) req: Option<Req>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum Req {
    #[prost(message, tag = 31)]
    Empty(CmdEmpty),
    #[prost(message, tag = 32)]
    Ping(State),
    #[prost(message, tag = 33)]
    Fetch(CmdKafkaFetch),
    #[prost(message, tag = 34)]
    ListOffset(CmdKafkaListOffset),
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct CmdEmpty {}

/// Of `CmdPing`, and of `PongResp`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct State {
    #[prost(bytes = "vec", tag = 1)]
    pub(crate) state: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct CmdKafkaFetch {
    #[prost(string, tag = 1)]
    pub(crate) topic: String,
    #[prost(int32, tag = 2)]
    pub(crate) partition: i32,
    #[prost(int64, tag = 3)]
    pub(crate) offset: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct CmdKafkaListOffset {
    #[prost(string, tag = 1)]
    pub(crate) topic: String,
    #[prost(int32, tag = 2)]
    pub(crate) partition: i32,
    #[prost(int64, tag = 3)]
    pub(crate) timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PubSubResp {
    #[prost(int64, tag = 1)]
    pub(crate) sequence: i64,
    #[prost(oneof = "Resp", tags = "31, 32, 33, 34")]
    pub(crate) resp: Option<Resp>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum Resp {
    #[prost(message, tag = 31)]
    Error(ErrorResp),
    #[prost(message, tag = 32)]
    Pong(State),
    #[prost(message, tag = 33)]
    Fetched(KafkaFetchResp),
    #[prost(message, tag = 34)]
    Offset(KafkaListOffsetResp),
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ErrorResp {
    #[prost(int32, tag = 1)]
    pub(crate) code: i32,
    #[prost(string, tag = 2)]
    pub(crate) message: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct KafkaFetchResp {
    #[prost(message, repeated, tag = 1)]
    pub(crate) messages: Vec<KafkaMessage>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct KafkaMessage {
    #[prost(int64, tag = 1)]
    pub(crate) offset: i64,
    #[prost(int64, tag = 2)]
    pub(crate) timestamp: i64,
    #[prost(bytes = "vec", tag = 3)]
    pub(crate) key: Vec<u8>,
    #[prost(bytes = "vec", tag = 4)]
    pub(crate) value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct KafkaListOffsetResp {
    #[prost(int64, tag = 1)]
    pub(crate) offset: i64,
}
