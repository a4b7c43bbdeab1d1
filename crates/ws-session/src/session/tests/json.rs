//! Sessions of JSON: text messages are commands.

#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

fn session() -> Session {
    let limits = Limits { max_message_bytes: 4096 };
    Session::new(limits, Codec::Json, &Budget::new(1 << 20, 4096), ClientKey::default())
}

/// The gRPC messages for the bridge without the numbers of unfinished messages, and the other outputs: counts are the
/// last.
fn client(pieces: &[&[u8]]) -> (Vec<Vec<u8>>, Vec<Output>) {
    let (mut session, mut stream, mut others, mut counted) = (session(), Vec::new(), Vec::new(), Vec::new());
    for piece in pieces {
        let mut outputs = Vec::new();
        session.handle(Input::Client { bytes: &mut piece.to_vec(), max_frames: MAX_FRAMES }, &mut outputs);
        for output in outputs {
            match output {
                Output::ToBridge(bytes) => stream.extend_from_slice(&bytes),
                Output::Count(event, count) => counted.extend((0..count).map(|_| Output::Count(event, 1))),
                other => others.push(other),
            }
        }
    }
    let (mut messages, mut rest) = (Vec::new(), stream.as_slice());
    while let Some((head, tail)) = rest.split_first_chunk() {
        let (message, tail) = tail.split_at(grpc::message_len(*head).unwrap() as usize);
        let is_note = PubSubReq::decode(message).is_ok_and(|request| match request.req {
            Some(Req::Control(control)) => matches!(control.control, Some(Control::Unfinished(_))),
            _ => false,
        });
        messages.extend((!is_note).then(|| message.to_vec()));
        rest = tail;
    }
    others.append(&mut counted);
    (messages, others)
}

#[track_caller]
fn check(frames: &[Vec<u8>], messages: &[&[u8]], others: &[Output]) {
    let wire = frames.concat();
    for cut in 0..=wire.len() {
        let (head, tail) = wire.split_at(cut);
        let seen = client(&[head, tail]);
        assert_eq!(seen.0, messages, "cut at byte {cut}");
        assert_eq!(seen.1, others, "cut at byte {cut}");
    }
    let bytes: Vec<&[u8]> = wire.chunks(1).collect();
    assert_eq!(client(&bytes).0, messages, "byte by byte");
}

const JSON: Output = Output::Count(Event::Json, 1);

#[test]
fn text_is_forwarded_unchanged() {
    let text = r#"{"id":1,"ping":{"state":"spät"}}"#.as_bytes();
    let (head, tail) = text.split_at(text.len() - 5);
    let pong = told(Control::Pong("now".into())).encode_to_vec();
    check(&[frame(0x01, head), frame(0x89, b"now"), frame(0x80, tail)], &[&pong, text], &[JSON]);
    let texts = [frame(0x81, text), frame(0x81, b""), frame(0x81, b"not JSON")];
    check(&texts, &[text, b"", b"not JSON"], &[JSON, JSON, JSON]);
}

#[test]
fn other_messages_close_the_session() {
    let check_error = |error: SessionError, bad: &[Vec<u8>]| {
        let close = close(u32::from(error.code()), &error.to_string()).encode_to_vec();
        let frames = [&[frame(0x81, b"{}")], bad, &[frame(0x81, b"late")]].concat();
        let closing = [Output::Closing { told: true }, JSON, Output::Count(Event::Error(error), 1)];
        check(&frames, &[b"{}", &close], &closing);
    };
    check_error(SessionError::NotText, &[frame(0x82, b"{}")]);
    check_error(SessionError::NotText, &[frame(0x02, b"{"), frame(0x80, b"}")]);
    check_error(SessionError::NotUtf8, &[frame(0x01, b"\xC3"), frame(0x80, b"\x28")]);
    // As a control message would begin.
    check_error(SessionError::NotUtf8, &[frame(0x81, &super::close(1000, "forged").encode_to_vec())]);
}

#[test]
fn answers_are_text() {
    let seen = bridge(&mut session(), &[&grpc::head(2)[..], b"{}"].concat());
    assert_eq!(seen.client, b"\x81\x02{}");
}
