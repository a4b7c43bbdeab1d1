//! One invariant of a session for any bytes, for random streams and for those of libFuzzer.

use std::sync::Arc;

use prost::Message;
use sluicegate_fair_share::ClientKey;
use sluicegate_protocol::codec::Codec;
use sluicegate_protocol::control_req::Control;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::{CONTROL_PREFIX, ControlReq, PubSubReq, grpc};
use sluicegate_ws_session::budget::Budget;
use sluicegate_ws_session::{Event, Input, Limits, Output, Session};

/// Outputs of a session. The numbers of unfinished messages, which depend on cuts, are left out.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    bridge: Vec<Vec<u8>>,
    client: Vec<u8>,
    events: Vec<Event>,
    closing: usize,
    closed: usize,
}

/// One invariant, for any bytes in any pieces: a session does not panic, and the pieces change nothing of what the
/// bridge and the client get; the bridge gets whole requests only, in the session's codec; all memory is given back.
pub(crate) fn check(codec: Codec, client: &[u8], bridge: &[u8], cuts: &[usize]) {
    let budget = Budget::new(8 * MAX_MESSAGE, MAX_MESSAGE);
    let whole = run(codec, &[client], &[bridge], &budget);
    let in_pieces = run(codec, &pieces(client, cuts), &pieces(bridge, cuts), &budget);
    assert_eq!(in_pieces, whole);
    assert_eq!(budget.used(), 0, "memory of sessions that ended");
}

fn run(codec: Codec, client: &[&[u8]], bridge: &[&[u8]], budget: &Arc<Budget>) -> Seen {
    let limits = Limits { max_message_bytes: MAX_MESSAGE };
    let mut session = Session::new(limits, codec, budget, ClientKey::default());
    let (mut seen, mut to_bridge) = (Seen::default(), Vec::new());
    for piece in client {
        let mut outputs = Vec::new();
        session.handle(Input::Client { bytes: &mut piece.to_vec(), max_frames: usize::MAX }, &mut outputs);
        for output in outputs {
            match output {
                Output::ToBridge(bytes) => to_bridge.extend_from_slice(&bytes),
                other => seen.note(other, &[]),
            }
        }
    }
    for piece in bridge {
        let mut shown = 0;
        loop {
            let wanted = session.wanted(piece.len(), &piece[..shown]);
            if wanted <= shown {
                break;
            }
            shown = wanted;
        }
        let mut outputs = Vec::new();
        session.handle(Input::Bridge { size: piece.len(), seen: &piece[..shown] }, &mut outputs);
        outputs.into_iter().for_each(|output| seen.note(output, piece));
    }
    seen.bridge = requests(codec, &to_bridge);
    // The events of one piece are counted together.
    seen.events.sort_by_key(|event| format!("{event:?}"));
    seen
}

impl Seen {
    fn note(&mut self, output: Output, chunk: &[u8]) {
        match output {
            Output::ToBridge(_) => panic!("only the client's bytes make something for the bridge"),
            Output::ToClient(edit) => {
                self.client.extend_from_slice(&edit.insert);
                self.client.extend_from_slice(&chunk[edit.drop..]);
            }
            Output::Count(event, count) => self.events.extend((0..count).map(|_| event)),
            Output::Closing { told } => {
                assert!(told);
                self.closing += 1;
            }
            Output::Closed => self.closed += 1,
        }
    }
}

fn requests(codec: Codec, mut stream: &[u8]) -> Vec<Vec<u8>> {
    let mut requests = Vec::new();
    let mut closed = false;
    while let Some((head, rest)) = stream.split_first_chunk() {
        assert!(!closed, "a message after the close");
        let (message, rest) = rest.split_at(grpc::message_len(*head).unwrap() as usize);
        stream = rest;
        if !message.starts_with(&CONTROL_PREFIX) {
            // The content of a command is the bridge's to judge.
            match codec {
                Codec::Json => assert!(std::str::from_utf8(message).is_ok(), "{message:x?} for the bridge"),
                Codec::Protobuf => {
                    let req = PubSubReq::decode(message).map(|request| request.req);
                    assert!(!matches!(req, Ok(None | Some(Req::CmdEmpty(_)))), "{req:?} for the bridge");
                }
            }
            requests.push(message.to_vec());
            continue;
        }
        let request = PubSubReq::decode(message).expect("a message of the session's own");
        let Some(Req::Control(ControlReq { control: Some(control) })) = &request.req else {
            panic!("{request:?}");
        };
        closed = matches!(control, Control::Close(_));
        if !matches!(control, Control::Unfinished(_)) {
            requests.push(message.to_vec());
        }
    }
    assert!(stream.is_empty(), "half a message for the bridge");
    requests
}

/// The pieces between cuts, each so many bytes after the one before, and the rest.
pub(crate) fn pieces<'a>(mut bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for cut in cuts {
        let (piece, rest) = bytes.split_at((*cut).min(bytes.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces.push(bytes);
    pieces
}

/// The largest message, in bytes.
pub(crate) const MAX_MESSAGE: usize = 500;
