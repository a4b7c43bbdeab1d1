//! Frames of clients at any cut, and frames to clients.

use super::*;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// A client's frame, masked with a fixed key.
pub(crate) fn wire(first: u8, payload: &[u8]) -> Vec<u8> {
    masked(first, payload, [0x37, 0xFA, 0x21, 0x3D])
}

pub(crate) fn masked(first: u8, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let mut out = Vec::new();
    server_header(Opcode::Binary, payload.len() as u64, &mut out);
    out[0] = first;
    out[1] |= 0x80;
    out.extend_from_slice(&mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    out
}

/// Frames in `pieces`: first byte's meaning and whole payload.
fn frames(pieces: &[&[u8]]) -> Result<Vec<(bool, Opcode, Vec<u8>)>, SessionError> {
    let mut decoder = Decoder::default();
    let mut found: Vec<(bool, Opcode, Vec<u8>)> = Vec::new();
    for piece in pieces {
        let mut piece = piece.to_vec();
        let mut rest = piece.as_mut_slice();
        while let Some(part) = decoder.next(&mut rest)? {
            match part {
                Part::Head(header) => found.push((header.fin, header.opcode, Vec::new())),
                Part::Payload { bytes, .. } => found.last_mut().unwrap().2.extend_from_slice(bytes),
            }
        }
        assert!(rest.is_empty(), "bytes left although the decoder asked for more");
    }
    Ok(found)
}

/// Cut at each byte, as far as headers can be.
#[track_caller]
fn check(wire: &[u8], want: &[(bool, Opcode, &[u8])]) {
    let want: Vec<_> = want.iter().map(|(fin, opcode, payload)| (*fin, *opcode, payload.to_vec())).collect();
    for cut in (0..=wire.len().min(400)).chain([wire.len() / 2, wire.len()]) {
        let (head, tail) = wire.split_at(cut);
        assert_eq!(frames(&[head, tail]).as_ref(), Ok(&want), "cut at byte {cut}");
    }
    let bytes: Vec<&[u8]> = wire.chunks(1).collect();
    assert_eq!(frames(&bytes), Ok(want), "byte by byte");
}

#[test]
fn frames_of_each_kind_and_length_are_decoded_at_any_cut() {
    check(&wire(0x82, b""), &[(true, Opcode::Binary, b"")]);
    check(&wire(0x01, b"hello"), &[(false, Opcode::Text, b"hello")]);
    check(&wire(0x80, &[7; 125]), &[(true, Opcode::Continuation, &[7; 125])]);
    check(&wire(0x82, &[8; 126]), &[(true, Opcode::Binary, &[8; 126])]);
    check(&wire(0x82, &[9; 300]), &[(true, Opcode::Binary, &[9; 300])]);
    let long = vec![1; 65_536];
    check(&wire(0x82, &long), &[(true, Opcode::Binary, &long)]);
    let (ping, pong, close) = (wire(0x89, b"ping"), wire(0x8A, b""), wire(0x88, b"\x03\xe8"));
    let want: [(_, _, &[u8]); 3] =
        [(true, Opcode::Ping, b"ping"), (true, Opcode::Pong, b""), (true, Opcode::Close, b"\x03\xe8")];
    check(&[ping, pong, close].concat(), &want);
}

#[track_caller]
fn refused(first: u8, second: u8, want: &str) {
    let error = frames(&[&[first, second], &[0]]).expect_err("accepted");
    assert_eq!((error.code(), error.to_string().as_str()), (1002, want), "{first:02x} {second:02x}");
}

#[test]
fn invalid_frames_are_refused_by_their_first_two_bytes() {
    refused(0x82, 0x05, "frame without a mask");
    refused(0xC2, 0x85, "reserved bits set");
    refused(0xA2, 0x85, "reserved bits set");
    refused(0x92, 0x85, "reserved bits set");
    for opcode in [0x3, 0x4, 0x5, 0x6, 0x7, 0xB, 0xC, 0xD, 0xE, 0xF] {
        refused(0x80 | opcode, 0x85, "reserved opcode");
    }
    for opcode in [0x8, 0x9, 0xA] {
        refused(opcode, 0x85, "fragmented control frame");
        refused(0x80 | opcode, 0xFE, "control frame over 125 bytes");
        refused(0x80 | opcode, 0xFF, "control frame over 125 bytes");
    }
}

#[test]
fn length_over_63_bits_is_refused() {
    let wire = [0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4];
    assert_eq!(frames(&[&wire]), Err(SessionError::Protocol("payload length over 63 bits")));
    let long = Err(SessionError::Protocol("payload length is not in its shortest form"));
    assert_eq!(frames(&[&[0x82, 0x80 | 126, 0, 125, 0, 0, 0, 0]]), long);
    assert_eq!(frames(&[&[0x82, 0x80 | 127, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0, 0, 0, 0]]), long);
}

#[test]
fn headers_to_a_client_use_the_shortest_length() {
    let header = |len| {
        let mut out = Vec::new();
        server_header(Opcode::Binary, len, &mut out);
        out
    };
    assert_eq!(header(0), [0x82, 0]);
    assert_eq!(header(125), [0x82, 125]);
    assert_eq!(header(126), [0x82, 126, 0, 126]);
    assert_eq!(header(65_535), [0x82, 126, 255, 255]);
    assert_eq!(header(65_536), [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
}
