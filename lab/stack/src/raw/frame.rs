//! Frames (RFC 6455, section 5.2).

use prost::Message as _;
use sluicegate_protocol::PubSubReq;
use sluicegate_protocol::pub_sub_req::Req;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// FIN, reserved bits and opcode.
    pub first: u8,
    /// Without a mask.
    pub payload: Vec<u8>,
}

/// A client's frame with `first` as its first byte.
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = head(first, 0x80, payload.len() as u64);
    let mask = [0x37, 0xFA, 0x21, 0x3D];
    out.extend_from_slice(&mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    out
}

/// A client's frame with a request.
pub fn request(sequence: i64, req: Req) -> Vec<u8> {
    masked(BINARY, &PubSubReq { sequence, req: Some(req) }.encode_to_vec())
}

/// A frame's header up to its mask, in the shortest form that holds `len`.
pub fn head(first: u8, mask_bit: u8, len: u64) -> Vec<u8> {
    match len {
        0..=125 => vec![first, mask_bit | len as u8],
        126..=0xFFFF => [&[first, mask_bit | 126][..], &(len as u16).to_be_bytes()].concat(),
        _ => [&[first, mask_bit | 127][..], &len.to_be_bytes()].concat(),
    }
}

/// A close frame as the server sends it.
pub fn close(code: u16, reason: &str) -> Frame {
    Frame { first: CLOSE, payload: [&code.to_be_bytes(), reason.as_bytes()].concat() }
}

pub const TEXT: u8 = 0x81;
pub const BINARY: u8 = 0x82;
pub const CLOSE: u8 = 0x88;
pub const PING: u8 = 0x89;
pub const PONG: u8 = 0x8A;
/// The FIN bit: a frame without it is not the last of its message.
pub const FIN: u8 = 0x80;
