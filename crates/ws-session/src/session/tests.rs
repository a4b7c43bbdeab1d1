//! Outputs of a session, as the bridge and the client see them.

#[cfg(not(target_family = "wasm"))]
mod invariant;
#[cfg(not(target_family = "wasm"))]
mod random;

use prost::Message as _;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{
    CmdEmpty, CmdPing, ControlResp, PongResp, PubSubReq, PubSubResp, Refusal, control_resp,
};

use super::*;
use crate::frame::tests::wire as frame;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// Bytes that the bridge and the client got, and the other outputs.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    bridge: Vec<Vec<u8>>,
    /// The numbers of unfinished messages, which the bridge got as well.
    unfinished: Vec<u64>,
    client: Vec<u8>,
    counted: Vec<Event>,
    told: Vec<Output>,
}

impl Seen {
    /// Takes all that follows from an input. Bytes for the client replace those that came from the bridge.
    fn step(&mut self, session: &mut Session, input: Input<'_>, from_bridge: &[u8]) -> Vec<u8> {
        let (mut outputs, mut to_bridge) = (Vec::new(), Vec::new());
        session.handle(input, &mut outputs);
        for output in outputs {
            match output {
                Output::ToBridge(bytes) => to_bridge.extend(bytes),
                Output::ToClient(edit) => {
                    self.client = [&edit.insert[..], &from_bridge[edit.drop..]].concat()
                }
                Output::Count(event, count) => self.counted.extend((0..count).map(|_| event)),
                other => self.told.push(other),
            }
        }
        to_bridge
    }
}

/// More than any test but one sends.
const MAX_FRAMES: usize = 1000;

fn session() -> Session {
    session_of(Codec::Protobuf)
}

fn session_of(codec: Codec) -> Session {
    limited_by(&Budget::new(1 << 20, 4096), codec)
}

fn limited_by(budget: &Arc<Budget>, codec: Codec) -> Session {
    Session::new(Limits { max_message_bytes: 4096 }, codec, budget, ClientKey::default())
}

/// Feeds `pieces` from the client, one step each.
fn client(session: &mut Session, pieces: &[&[u8]]) -> Seen {
    let (mut seen, mut stream) = (Seen::default(), Vec::new());
    for piece in pieces {
        let input = Input::Client { bytes: &mut piece.to_vec(), max_frames: MAX_FRAMES };
        stream.extend(seen.step(session, input, &[]));
    }
    assert_eq!(seen.client, b"", "although nothing came from the bridge");
    let mut rest = stream.as_slice();
    while let Some((head, tail)) = rest.split_first_chunk() {
        let (message, tail) = tail.split_at(grpc::message_len(*head).unwrap() as usize);
        match PubSubReq::decode(message).map(|request| request.req) {
            Ok(Some(Req::Control(ControlReq { control: Some(Control::Unfinished(number)) }))) => {
                seen.unfinished.push(number);
            }
            _ => seen.bridge.push(message.to_vec()),
        }
        rest = tail;
    }
    assert!(rest.is_empty(), "half a message for the bridge");
    seen
}

/// Feeds `chunk` from the bridge, all of it shown.
fn bridge(session: &mut Session, chunk: &[u8]) -> Seen {
    of_bridge(session, Input::Bridge { size: chunk.len(), seen: chunk }, chunk)
}

fn of_bridge(session: &mut Session, input: Input<'_>, chunk: &[u8]) -> Seen {
    let mut seen = Seen::default();
    assert_eq!(seen.step(session, input, chunk), b"", "although nothing came from the client");
    seen
}

fn ping(sequence: i64, state: &'static str) -> Vec<u8> {
    request(sequence, Req::CmdPing(CmdPing { state: state.into() }))
}

fn request(sequence: i64, req: Req) -> Vec<u8> {
    PubSubReq { sequence, req: Some(req) }.encode_to_vec()
}

fn told(control: Control) -> Vec<u8> {
    request(0, Req::Control(ControlReq { control: Some(control) }))
}

fn refused(sequence: i64, message: &str) -> Vec<u8> {
    told(Control::Refusal(Refusal { sequence, message: message.into() }))
}

fn close(code: u32, reason: &str) -> Vec<u8> {
    told(Control::Close(Close { code, reason: reason.into() }))
}

fn answer(resp: Resp) -> Vec<u8> {
    let message = PubSubResp { sequence: 0, resp: Some(resp) }.encode_to_vec();
    [&grpc::head(message.len() as u32)[..], &message].concat()
}

#[track_caller]
fn check(frames: &[Vec<u8>], want: &[Vec<u8>], counted: &[Event], closing: bool) {
    check_in(Codec::Protobuf, frames, want, counted, closing);
}

#[track_caller]
fn check_in(codec: Codec, frames: &[Vec<u8>], want: &[Vec<u8>], counted: &[Event], closing: bool) {
    let wire = frames.concat();
    let told: Vec<Output> = closing.then_some(Output::Closing { told: true }).into_iter().collect();
    for cut in 0..=wire.len() {
        let (head, tail) = wire.split_at(cut);
        let seen = client(&mut session_of(codec), &[head, tail]);
        assert_eq!(seen.bridge, want, "cut at byte {cut}");
        assert_eq!((seen.counted.as_slice(), &seen.told), (counted, &told), "cut at byte {cut}");
    }
    let bytes: Vec<&[u8]> = wire.chunks(1).collect();
    assert_eq!(client(&mut session_of(codec), &bytes).bridge, want, "byte by byte");
}

const PING: Event = Event::Command(Command::Ping);

#[test]
fn commands_are_forwarded_unchanged_and_empty_requests_get_no_answer() {
    let sequence_only = PubSubReq { sequence: 5, req: None }.encode_to_vec();
    let requests = [&ping(1, "a")[..], b"", &sequence_only, &ping(2, "")];
    let frames = requests.map(|request| frame(0x82, request));
    check(&frames, &[ping(1, "a"), ping(2, "")], &[PING, PING], false);
}

#[test]
fn control_frames_inside_a_fragmented_command_come_first() {
    let message = ping(3, "state");
    let (head, middle, tail) = (&message[..4], &message[4..6], &message[6..]);
    let fragments = [frame(0x02, head), frame(0x00, b""), frame(0x00, middle), frame(0x80, tail)];
    let [first, empty, second, last] = fragments;
    let frames = [first, frame(0x89, b"now"), empty, frame(0x8A, b"here"), second, last];
    let told = [told(Control::Pong("now".into())), told(Control::Alive("here".into())), message];
    check(&frames, &told, &[PING], false);
}

#[test]
fn message_of_the_largest_size_needs_no_memory_if_it_comes_at_once() {
    let text = [b'x'; 4096];
    let whole = client(&mut limited_by(&Budget::new(0, 0), Codec::Json), &[&frame(0x81, &text)]);
    assert_eq!(whole.bridge, [text]);
    let fragments = [frame(0x01, &text[..4000]), frame(0x80, &text[4000..])].concat();
    assert_eq!(client(&mut session_of(Codec::Json), &[&fragments]).bridge, [text]);
}

#[test]
fn invalid_requests_become_refusals() {
    let empty = request(7, Req::CmdEmpty(CmdEmpty {}));
    let forged = request(8, Req::Control(ControlReq { control: Some(Control::Pong("".into())) }));
    check(
        &[frame(0x82, &empty), frame(0x82, &forged), frame(0x82, b"\xff")],
        &[refused(7, "unknown command"), refused(8, "unknown command"), refused(0, "wrong command")],
        &[Event::UnknownCommand, Event::UnknownCommand, Event::WrongCommand],
        false,
    );
}

#[test]
fn nothing_is_forwarded_after_the_clients_close() {
    let after = frame(0x82, &ping(1, "late"));
    check(&[frame(0x88, b"\x03\xe8bye"), after.clone()], &[close(1000, "bye")], &[], true);
    check(&[frame(0x88, b""), after], &[close(0, "")], &[], true);
}

#[test]
fn error_closes_the_session_and_nothing_more_is_forwarded() {
    let after = frame(0x82, &ping(1, "late"));
    let check_error = |error: SessionError, bad: Vec<u8>| {
        let close = close(u32::from(error.code()), &error.to_string());
        check(&[bad, after.clone()], &[close], &[Event::Error(error)], true);
    };
    check_error(SessionError::Protocol("frame without a mask"), vec![0x82, 0x01, 0x00]);
    let [first, alone, whole] = [0x02, 0x80, 0x82].map(|first| frame(first, b""));
    check_error(SessionError::Protocol("continuation without a first frame"), alone.clone());
    check_error(SessionError::Protocol("continuation without a first frame"), [&whole[..], &alone].concat());
    for second in [&first, &whole] {
        let inside = SessionError::Protocol("new message inside a fragmented one");
        check_error(inside, [&first[..], second].concat());
    }
    check_error(SessionError::Protocol("close payload of 1 byte"), frame(0x88, b"x"));
    for text in [&b"\xff"[..], b"\xED\xA0\x80", b"\xC0\xAF", b"sp\xC3"] {
        check_error(SessionError::NotUtf8, frame(0x81, text));
        // In a reason, too.
        check_error(SessionError::NotUtf8, frame(0x88, &[b"\x03\xe8", text].concat()));
    }
    check_error(SessionError::NotUtf8, [frame(0x01, b"\xC3"), frame(0x80, b"\x28")].concat());
    // Text that is cut within a character is still text.
    let (head, tail) = "sp\u{e4}t".as_bytes().split_at(3);
    check_error(SessionError::NotBinary, [frame(0x01, head), frame(0x80, tail)].concat());
    check_error(SessionError::MessageTooBig { max: 4096 }, vec![0x82, 0xFE, 0x10, 0x01, 0, 0, 0, 0]);
}

#[test]
fn evicted_session_closes_at_its_next_input() {
    // A share of 1000.
    let budget = Budget::new(8000, 1000);
    let mut sessions: Vec<_> = (0..3).map(|_| limited_by(&budget, Codec::Protobuf)).collect();
    let unfinished = frame(0x02, &[1; 400]);
    for session in &mut sessions {
        assert!(client(session, &[&unfinished]).bridge.is_empty());
    }
    assert_eq!(budget.used(), 800, "the third evicted the first");
    let seen = client(&mut sessions[0], &[&frame(0x8A, b"")]);
    let reason = "unfinished message dropped: too many from this address, try again later";
    assert_eq!(seen.bridge, [close(1013, reason)]);
    assert_eq!(seen.counted, [Event::Error(SessionError::Evicted)]);
    assert_eq!(seen.told, [Output::Closing { told: true }]);
    sessions.truncate(2);
    let seen = client(&mut sessions[1], &[&frame(0x80, &[1; 300])]);
    assert_eq!(seen.counted, [Event::WrongCommand]);
    assert_eq!(budget.used(), 0);
    // One that is larger than the share by itself.
    let seen = client(&mut limited_by(&budget, Codec::Protobuf), &[&frame(0x02, &[1; 1001])]);
    assert_eq!(seen.counted, [Event::Error(SessionError::Evicted)]);
}

#[test]
fn too_many_frames_at_once_close_the_session() {
    let ping = frame(0x82, &ping(1, ""));
    let mut session = session();
    let seen = client(&mut session, &[&ping.repeat(MAX_FRAMES), &ping.repeat(MAX_FRAMES)]);
    assert_eq!((seen.bridge.len(), session.frames()), (2 * MAX_FRAMES, MAX_FRAMES));
    let seen = client(&mut session, &[&ping.repeat(MAX_FRAMES + 1)]);
    assert_eq!(session.frames(), MAX_FRAMES);
    let reason = "too many frames at once from this address, try again later";
    assert_eq!(seen.bridge.last(), Some(&close(1013, reason)));
    assert_eq!(seen.counted.last(), Some(&Event::Error(SessionError::TooManyFrames)));
    assert_eq!(seen.told, [Output::Closing { told: true }]);
}

#[test]
fn events_of_one_input_are_counted_together() {
    let [known, unknown] = [ping(1, ""), vec![0x12, 0]].map(|request| frame(0x82, &request));
    let mut outputs = Vec::new();
    let bytes = &mut [known, unknown].concat().repeat(3);
    session().handle(Input::Client { bytes, max_frames: MAX_FRAMES }, &mut outputs);
    outputs.retain(|output| matches!(output, Output::Count(..)));
    assert_eq!(outputs, [Output::Count(PING, 3), Output::Count(Event::UnknownCommand, 3)]);
}

#[test]
fn bridge_is_told_when_messages_begin_and_end() {
    let message = frame(0x82, &ping(1, "a"));
    let (head, tail) = message.split_at(8);
    let mut session = session();
    let mut unfinished = |bytes: &[u8]| client(&mut session, &[bytes]).unfinished;
    assert_eq!(unfinished(head), [1]);
    assert_eq!(unfinished(&tail[..1]), [0; 0]);
    assert_eq!(unfinished(&tail[1..]), [0]);
    // Complete messages and partial frame headers are not reported.
    assert_eq!(unfinished(&[&message[..], &message[..1]].concat()), [0; 0]);
    assert_eq!(unfinished(&message[1..]), [0; 0]);
    // Fragments, with a ping inside; then one message ends and another begins.
    assert_eq!(unfinished(&frame(0x02, b"a")), [4]);
    assert_eq!(unfinished(&frame(0x89, b"p")), [0; 0]);
    assert_eq!(unfinished(&[frame(0x80, b"b"), frame(0x02, b"c")].concat()), [5]);
    assert_eq!(unfinished(&frame(0x80, b"d")), [0]);
}

/// Until then its stream may last as long as its client takes to leave.
#[test]
fn ended_session_frees_its_unfinished_message_at_once() {
    let budget = Budget::new(1 << 20, 4096);
    let unfinished = frame(0x02, &[1; 400]);
    let over = [
        ("too much", frame(0x00, &[1; 4000])),
        ("a violation", frame(0x82, b"inside another")),
        ("the client's close", frame(0x88, &[])),
    ];
    for (what, last) in over {
        let mut session = limited_by(&budget, Codec::Protobuf);
        assert!(client(&mut session, &[&unfinished]).bridge.is_empty());
        assert_eq!(budget.used(), 400);
        assert!(!client(&mut session, &[&last]).bridge.is_empty(), "{what}");
        assert_eq!(budget.used(), 0, "{what}");
    }
    let mut session = limited_by(&budget, Codec::Protobuf);
    client(&mut session, &[&unfinished]);
    session.handle(Input::BridgeEnd, &mut Vec::new());
    assert_eq!(budget.used(), 0, "the bridge's end");
}

#[test]
fn nothing_passes_after_the_bridges_close() {
    let mut session = session();
    let pong = Resp::PongResp(PongResp { state: "s".into() });
    let last = control_resp::Control::Close(Close { code: 1001, reason: "going away".into() });
    let last = answer(Resp::Control(ControlResp { control: Some(last) }));
    let seen = bridge(&mut session, &[answer(pong.clone()), last, answer(pong)].concat());
    assert_eq!(seen.client, b"\x82\x06\x82\x02\x03\x0a\x01s\x88\x0c\x03\xe9going away");
    assert_eq!(seen.told, [Output::Closed]);
    assert_eq!(client(&mut session, &[&frame(0x89, b"late")]), Seen::default());
    assert_eq!(bridge(&mut session, b"more"), Seen::default());
}

#[test]
fn clients_close_is_found_after_the_bridges() {
    let data = frame(0x82, &[0x88; 300]);
    let close = frame(0x88, b"\x03\xe9going away");
    for (began, rest) in [
        (&[][..], [&close[..], &data].concat()),
        (&data[..100], [&data[100..], &frame(0x89, b""), &close].concat()),
        (&close[..3], close[3..].to_vec()),
    ] {
        for cut in 0..=rest.len() {
            let mut session = session();
            client(&mut session, &[began]);
            session.handle(Input::BridgeEnd, &mut Vec::new());
            assert!(!session.is_closed_by_client());
            let (head, tail) = rest.split_at(cut);
            assert_eq!(client(&mut session, &[head, tail]), Seen::default(), "cut at byte {cut}");
            assert!(session.is_closed_by_client(), "cut at byte {cut}");
        }
    }
    let mut session = session();
    session.handle(Input::BridgeEnd, &mut Vec::new());
    client(&mut session, &[&[0x82, 0x01, 0x00], &close]);
    assert!(!session.is_closed_by_client(), "after a violation");
}

#[test]
fn end_without_a_close_becomes_one() {
    let seen = of_bridge(&mut session(), Input::BridgeEnd, b"");
    assert_eq!(seen.client, b"\x88\x1e\x03\xf4the bridge ended the session");
    assert_eq!(seen.told, [Output::Closed]);
}

#[test]
fn json_is_forwarded_unchanged() {
    let text = r#"{"id":1,"ping":{"state":"spät"}}"#.as_bytes();
    let (head, tail) = text.split_at(text.len() - 5);
    let frames = [frame(0x01, head), frame(0x89, b"now"), frame(0x80, tail)];
    let want = [told(Control::Pong("now".into())), text.to_vec()];
    check_in(Codec::Json, &frames, &want, &[Event::Json], false);
    check_in(Codec::Json, &[frame(0x01, b""), frame(0x80, text)], &[text.to_vec()], &[Event::Json], false);
    let texts = [text, b"", b"not JSON"];
    let want = texts.map(<[u8]>::to_vec);
    check_in(Codec::Json, &texts.map(|text| frame(0x81, text)), &want, &[Event::Json; 3], false);
}

#[test]
fn other_messages_close_a_session_of_json() {
    let check_error = |error: SessionError, bad: &[Vec<u8>]| {
        let close = close(u32::from(error.code()), &error.to_string());
        let frames = [&[frame(0x81, b"{}")], bad, &[frame(0x81, b"late")]].concat();
        check_in(Codec::Json, &frames, &[b"{}".to_vec(), close], &[Event::Json, Event::Error(error)], true);
    };
    check_error(SessionError::NotText, &[frame(0x82, b"{}")]);
    check_error(SessionError::NotText, &[frame(0x02, b"{"), frame(0x80, b"}")]);
    check_error(SessionError::NotUtf8, &[frame(0x01, b"\xC3"), frame(0x80, b"\x28")]);
    // As a control message would begin.
    check_error(SessionError::NotUtf8, &[frame(0x81, &close(1000, "forged"))]);
}

#[test]
fn answers_of_json_are_text() {
    let seen = bridge(&mut session_of(Codec::Json), &[&grpc::head(2)[..], b"{}"].concat());
    assert_eq!(seen.client, b"\x81\x02{}");
}

#[test]
fn answers_pass_whatever_the_client_has_begun() {
    let pong = answer(Resp::PongResp(PongResp { state: "s".into() }));
    for begun in [&frame(0x82, &ping(1, "a"))[..8], &frame(0x88, b"\x03\xe8")[..]] {
        let mut session = session();
        client(&mut session, &[begun]);
        assert_eq!(bridge(&mut session, &pong).client, b"\x82\x06\x82\x02\x03\x0a\x01s");
    }
}

#[test]
fn short_write_is_padded_with_one_message() {
    let padded = |len| {
        let mut bytes = vec![b'x'; len];
        pad(&mut bytes);
        bytes
    };
    assert_eq!([0, MIN_WRITE, MIN_WRITE + 1, 70_000].map(|len| padded(len).len() - len), [0; 4]);
    for len in 1..MIN_WRITE {
        let padded = padded(len);
        assert!((MIN_WRITE..MIN_WRITE + LEAST + 2).contains(&padded.len()), "{len} to {}", padded.len());
        let (message, padding) = padded.split_at(len);
        assert!(message.iter().all(|byte| *byte == b'x'));
        let (head, padding) = padding.split_first_chunk().unwrap();
        assert_eq!(grpc::message_len(*head).unwrap() as usize, padding.len());
        let Some(Req::Control(ControlReq { control: Some(Control::Padding(zeros)) })) =
            PubSubReq::decode(padding).unwrap().req
        else {
            panic!("{padding:?} after {len} bytes")
        };
        assert!(zeros.iter().all(|byte| *byte == 0));
    }
}
