//! The bytes of a client and of the bridge, written from RFC 6455 and gRPC's framing, not with the filter's own code.

use prost::Message;
use sluicegate_protocol::control_req::Control as Said;
use sluicegate_protocol::control_resp::Control as ToSay;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{
    CmdKafkaFetch, CmdKafkaListOffset, CmdKafkaProduce, CmdPing, ControlReq, ControlResp, KafkaFetchResp,
    KafkaMessage, PongResp, ProduceRecord, PubSubReq, PubSubResp,
};

/// First bytes of whole frames, and of the parts of a fragmented message.
pub(crate) const TEXT: u8 = 0x81;
pub(crate) const BINARY: u8 = 0x82;
pub(crate) const CLOSE: u8 = 0x88;
pub(crate) const PING: u8 = 0x89;
pub(crate) const PONG: u8 = 0x8A;
pub(crate) const FIRST: u8 = 0x02;
pub(crate) const LAST: u8 = 0x80;

/// A masked frame.
pub(crate) fn from_client(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xFA, 0x21, 0x3D];
    let mut frame = head(first, payload.len());
    frame[1] |= 0x80;
    frame.extend_from_slice(&mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// A frame without a mask.
pub(crate) fn to_client(first: u8, payload: &[u8]) -> Vec<u8> {
    [head(first, payload.len()).as_slice(), payload].concat()
}

/// A Close frame to the client.
pub(crate) fn closed(code: u16, reason: &str) -> Vec<u8> {
    to_client(CLOSE, &[&code.to_be_bytes()[..], reason.as_bytes()].concat())
}

/// A client's Close frame.
pub(crate) fn close(code: u16, reason: &str) -> Vec<u8> {
    from_client(CLOSE, &[&code.to_be_bytes()[..], reason.as_bytes()].concat())
}

fn head(first: u8, len: usize) -> Vec<u8> {
    match len {
        0..=125 => vec![first, len as u8],
        126..=65_535 => [&[first, 126][..], &(len as u16).to_be_bytes()].concat(),
        _ => [&[first, 127][..], &(len as u64).to_be_bytes()].concat(),
    }
}

/// `message` as it travels on a gRPC stream.
pub(crate) fn grpc(message: &impl Message) -> Vec<u8> {
    grpc_bytes(&message.encode_to_vec())
}

pub(crate) fn grpc_bytes(message: &[u8]) -> Vec<u8> {
    [&[0][..], &(message.len() as u32).to_be_bytes(), message].concat()
}

/// The requests on a gRPC stream, which must be whole, without the filter's notes about its writes, which depend on how
/// bytes are cut: padding, and the numbers of unfinished messages.
#[track_caller]
pub(crate) fn requests(mut bytes: &[u8]) -> Vec<PubSubReq> {
    let mut requests = Vec::new();
    while let Some(([flag, len @ ..], rest)) = bytes.split_first_chunk::<5>() {
        let len = u32::from_be_bytes(*len) as usize;
        assert!(*flag == 0 && len <= rest.len(), "no gRPC message: {}", bytes.escape_ascii());
        requests.push(PubSubReq::decode(&rest[..len]).expect("a PubSubReq"));
        bytes = &rest[len..];
    }
    assert!(bytes.is_empty(), "not a whole gRPC message: {}", bytes.escape_ascii());
    let is_note = |request: &PubSubReq| match &request.req {
        Some(Req::Control(ControlReq { control })) => {
            matches!(control, Some(Said::Padding(_) | Said::Unfinished(_)))
        }
        _ => false,
    };
    requests.retain(|request| !is_note(request));
    requests
}

pub(crate) fn ping(sequence: i64, state: &[u8]) -> PubSubReq {
    PubSubReq { sequence, req: Some(Req::CmdPing(CmdPing { state: state.to_vec().into() })) }
}

pub(crate) fn fetch(sequence: i64) -> PubSubReq {
    let fetch = CmdKafkaFetch { topic: "orders".into(), partition: 3, offset: 42, ..Default::default() };
    PubSubReq { sequence, req: Some(Req::CmdKafkaFetch(fetch)) }
}

pub(crate) fn list_offset(sequence: i64) -> PubSubReq {
    let list = CmdKafkaListOffset { topic: "orders".into(), partition: 3, timestamp: -1 };
    PubSubReq { sequence, req: Some(Req::CmdKafkaListOffset(list)) }
}

pub(crate) fn produce(sequence: i64) -> PubSubReq {
    let record = ProduceRecord { topic: "orders".into(), value: Some("v".into()), ..Default::default() };
    PubSubReq {
        sequence,
        req: Some(Req::CmdKafkaProduce(CmdKafkaProduce {
            records: vec![record],
            ..CmdKafkaProduce::default()
        })),
    }
}

/// A control message of the filter to the bridge.
pub(crate) fn said(what: Said) -> PubSubReq {
    PubSubReq { sequence: 0, req: Some(Req::Control(ControlReq { control: Some(what) })) }
}

/// The close that the filter tells the bridge, if it is one.
pub(crate) fn said_close(request: &PubSubReq) -> Option<u32> {
    match &request.req {
        Some(Req::Control(ControlReq { control: Some(Said::Close(close)) })) => Some(close.code),
        _ => None,
    }
}

/// A control message of the bridge to the filter.
pub(crate) fn to_say(what: ToSay) -> Vec<u8> {
    grpc(&PubSubResp { sequence: 0, resp: Some(Resp::Control(ControlResp { control: Some(what) })) })
}

pub(crate) fn pong(sequence: i64, state: &[u8]) -> PubSubResp {
    PubSubResp { sequence, resp: Some(Resp::PongResp(PongResp { state: state.to_vec().into() })) }
}

/// A fetch's answer with one message of `len` bytes.
pub(crate) fn fetched(sequence: i64, len: usize) -> PubSubResp {
    let value: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
    let message = KafkaMessage { offset: 42, value: Some(value.into()), ..KafkaMessage::default() };
    let fetched = KafkaFetchResp { messages: vec![message], ..Default::default() };
    PubSubResp { sequence, resp: Some(Resp::KafkaFetchResp(fetched)) }
}
