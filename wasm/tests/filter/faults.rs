//! Every host call that the filter makes, refused at every moment with every status.
//!
//! A peer gets the same steps as without the refusal, whole and in order, or nothing more. No other session is
//! affected.

use std::iter;
use std::time::Duration;

use prost::Message;
use sluicegate_harness::envoy::{Stream, Vm};
use sluicegate_harness::{Controls, Headers, HostCall, Status, When};
use sluicegate_protocol::Close;
use sluicegate_protocol::control_resp::Control as ToSay;

use crate::gateway::{ANSWERED, PAGE, post, request};
use crate::socket::{PROFILES, Profile, Socket, accepted, sorted, start, upgrade};
use crate::wire::{self, BINARY, FIRST, LAST, PING, from_client, grpc, grpc_bytes};

/// Defined and not.
pub(crate) const STATUSES: [u32; 11] = [1, 2, 3, 5, 6, 7, 9, 10, 11, 12, 77];

/// Refuses a call always, and at each moment of a story. `play` plays the story, and says what came of it.
pub(crate) fn refused<T>(
    host: &Controls,
    call: HostCall,
    status: Status,
    play: impl Fn() -> T,
) -> Vec<(When, T)> {
    let mut all = Vec::new();
    for when in iter::once(When::Always).chain((1..).map(When::Nth)) {
        host.refuse(call, when, status);
        all.push((when, play()));
        // Behind the last call, nothing is refused.
        if host.allow(call) {
            break;
        }
    }
    all
}

/// The bytes that both peers have after each step of a story.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Seen {
    /// Request headers at the bridge, and the bytes of each step.
    request: Option<Vec<String>>,
    to_bridge: Vec<String>,
    /// Response headers at the client, and the bytes of each step.
    response: Option<Vec<String>>,
    status: Option<u16>,
    to_client: Vec<String>,
    /// Nothing more happens.
    over: bool,
}

/// Something that happens to a stream.
enum Step {
    Client(Vec<u8>),
    BridgeHeaders(Headers),
    Bridge(Vec<u8>),
    BridgeEnd(Vec<u8>),
    ClientTrailers,
    BridgeTrailers,
    /// No answer comes, for the reason in Envoy's details.
    BridgeFails(&'static str),
    /// The clock goes on, in seconds.
    Wait(u64),
}

/// A request, and what happens after it.
type Story = (Headers, Vec<Step>);

/// The stories of a profile. Plain HTTP is the same in all.
fn stories(profile: Profile) -> Vec<Story> {
    let refused = upgrade().without("upgrade").with("sluicegate-x", "y");
    let unreachable = vec![
        Step::BridgeHeaders([(":status", "503")].into()),
        Step::BridgeEnd(b"upstream connect error".to_vec()),
        Step::Wait(3),
    ];
    let mut stories = vec![(refused, vec![Step::Wait(3)]), (upgrade(), unreachable)];
    match profile {
        Profile::Tunnel => stories.extend(sessions().into_iter().chain(plain())),
        Profile::Relay => stories.push(relayed()),
    }
    stories
}

fn sessions() -> [Story; 3] {
    let request = upgrade()
        .with("sluicegate-cluster", "payments")
        .with("origin", PAGE)
        .with("sec-websocket-protocol", "pubsub");
    let fetch = wire::fetch(2).encode_to_vec();
    let answers =
        [grpc(&wire::pong(1, b"a")), wire::to_say(ToSay::Pong("p".into())), grpc(&wire::fetched(2, 300))]
            .concat();
    let (front, rest) = answers.split_at(30);
    let (within, end) = rest.split_at(200);
    let close = Close { code: 1000, reason: "done".into() };
    // Everything that makes the filter act.
    let whole = vec![
        Step::Client(from_client(BINARY, &wire::ping(1, b"early").encode_to_vec())),
        Step::BridgeHeaders(accepted()),
        Step::Client(from_client(FIRST, &fetch[..4])),
        Step::Client([from_client(PING, b"p"), from_client(LAST, &fetch[4..])].concat()),
        Step::Client(from_client(BINARY, b"no request")),
        Step::Bridge(front.to_vec()),
        Step::Bridge(within.to_vec()),
        Step::Bridge(end.to_vec()),
        Step::Bridge(grpc_bytes(&[7; 1000])),
        Step::Client(wire::close(1000, "done")),
        Step::Wait(1),
        Step::Bridge(wire::to_say(ToSay::Close(close))),
        Step::Wait(3),
    ];
    // The stream ends without a last word.
    let last = grpc(&wire::pong(1, b"last"));
    let ended = vec![Step::BridgeHeaders(accepted()), Step::BridgeEnd(last.clone()), Step::Wait(3)];
    // Trailers release what is held back where they pass.
    let trailed = vec![
        Step::BridgeHeaders(accepted()),
        Step::Client(from_client(BINARY, &wire::fetch(1).encode_to_vec())),
        Step::ClientTrailers,
        Step::Bridge(last),
        Step::BridgeTrailers,
        Step::Wait(3),
    ];
    [(request, whole), (upgrade(), ended), (upgrade(), trailed)]
}

/// A session that Envoy relays: all bytes pass as they are.
fn relayed() -> Story {
    let request = upgrade()
        .with("sluicegate-cluster", "payments")
        .with("origin", PAGE)
        .with("sec-websocket-protocol", "pubsub")
        .with("sec-websocket-extensions", "permessage-deflate");
    let steps = vec![
        Step::Client(from_client(BINARY, b"early")),
        Step::BridgeHeaders(Profile::Relay.accepted()),
        Step::Client(b"any bytes".to_vec()),
        Step::Bridge(vec![7; 1000]),
        Step::BridgeFails("upstream_reset_after_response_started{connection_termination}"),
        Step::Wait(3),
    ];
    (request, steps)
}

/// Plain requests: answered, without an answer, refused.
fn plain() -> [Story; 3] {
    let request = post("/orders").with("origin", PAGE);
    let answer = Headers::from([(":status", "200"), ANSWERED, ("content-type", "application/json")]);
    let answered = vec![
        Step::Client(b"one".to_vec()),
        Step::Client(b"two".to_vec()),
        Step::ClientTrailers,
        Step::BridgeHeaders(answer),
        Step::Bridge(b"{".to_vec()),
        Step::BridgeEnd(b"}".to_vec()),
        Step::Wait(3),
    ];
    let lost = vec![Step::Client(b"one".to_vec()), Step::BridgeFails("no_healthy_upstream"), Step::Wait(3)];
    let refused = self::request("GET", "/kafka/topics").with("upgrade", "websocket");
    [
        (request.clone().with("sluicegate-x", "y").with("te", "trailers"), answered),
        (request, lost),
        (refused, vec![Step::Wait(3)]),
    ]
}

/// Plays a story to the end, as far as the filter lets it.
fn play((request, steps): &Story, vm: &Vm) -> Seen {
    let mut stream = vm.request(request);
    let mut seen = Seen::default();
    note(&mut stream, &mut seen);
    for step in steps {
        let forwarded = stream.upstream_request().is_some();
        match step {
            Step::Client(bytes) => stream.client_sends(bytes),
            Step::ClientTrailers => stream.client_trailers([("x", "y")]),
            Step::Wait(seconds) => vm.advance(Duration::from_secs(*seconds)),
            _ if !forwarded => {}
            Step::BridgeHeaders(headers) => stream.upstream_headers(headers, false),
            Step::Bridge(bytes) => stream.upstream_sends(bytes, false),
            Step::BridgeEnd(bytes) => stream.upstream_sends(bytes, true),
            Step::BridgeTrailers => stream.upstream_trailers([("grpc-status", "0")]),
            Step::BridgeFails(details) => stream.upstream_fails(503, details),
        }
        note(&mut stream, &mut seen);
    }
    seen.over = stream.is_finished();
    seen
}

fn note(stream: &mut Stream, seen: &mut Seen) {
    // Without the client's address, the bridge counts for the gateway's.
    seen.request = stream.upstream_request().map(|headers| sorted(&headers.without("sluicegate-client")));
    seen.status = stream.response().map(|response| response.status());
    seen.response = stream.response().as_ref().map(|response| sorted(&response.headers));
    let bytes =
        [(stream.take_to_upstream(), &mut seen.to_bridge), (stream.take_to_client(), &mut seen.to_client)];
    for (bytes, steps) in bytes {
        if !bytes.is_empty() {
            steps.push(bytes.escape_ascii().to_string());
        }
    }
}

/// Whether the peers got whole steps of what they get without a fault, in order, or the client a refusal instead.
fn is_part(seen: &Seen, whole: &Seen) -> bool {
    let refused = seen.status.is_some_and(|status| status >= 400);
    (seen.request.is_none() || seen.request == whole.request)
        && whole.to_bridge.starts_with(&seen.to_bridge)
        && (refused
            || (seen.response.is_none() || seen.response == whole.response)
                && whole.to_client.starts_with(&seen.to_client))
}

/// Bytes go there and others come back.
#[track_caller]
fn works(socket: &mut Socket, profile: Profile) {
    if profile != Profile::Relay {
        return socket.works();
    }
    socket.client(b"there");
    socket.bridge(b"back");
    assert_eq!((socket.0.take_to_upstream(), socket.answers()), (b"there".to_vec(), b"back".to_vec()));
}

/// Refuses a call at each moment of each story, with each of these statuses.
#[track_caller]
fn check(vm: &Vm, profile: Profile, call: HostCall, statuses: &[u32], ends: bool) {
    for story in stories(profile) {
        let whole = play(&story, vm);
        for status in statuses.iter().map(|status| Status(*status)) {
            // A host that says that a header is not there is believed.
            let asks = [HostCall::GetHeaderMapValue, HostCall::RemoveHeaderMapValue];
            let believed = asks.contains(&call) && status == Status::NOT_FOUND;
            for (when, (seen, trap)) in refused(vm, call, status, || (play(&story, vm), vm.trap())) {
                assert!(
                    trap.is_none() && (believed || is_part(&seen, &whole) && (seen.over || !ends)),
                    "{profile:?}, {call:?}, {status:?}, {when:?}: {seen:#?}\nbut {whole:#?}\n{trap:?}"
                );
            }
        }
    }
}

#[test]
fn refused_calls_leave_nothing_half_done() {
    for call in HostCall::ALL {
        // Without these, a stream does not end.
        let ends = ![HostCall::CloseStream, HostCall::SetEffectiveContext].contains(&call);
        for profile in PROFILES {
            let vm = profile.start();
            let mut witness = Socket::open_in(&vm, profile);
            check(&vm, profile, call, &STATUSES, ends);
            works(&mut witness, profile);
            works(&mut Socket::open_in(&vm, profile), profile);
        }
    }
}

#[test]
fn nothing_passes_if_a_stream_cannot_be_reset() {
    for profile in PROFILES {
        let vm = profile.start();
        let mut witness = Socket::open_in(&vm, profile);
        vm.refuse(HostCall::CloseStream, When::Always, Status::INTERNAL_FAILURE);
        for call in HostCall::ALL.into_iter().filter(|call| *call != HostCall::CloseStream) {
            check(&vm, profile, call, &[10], false);
        }
        vm.allow(HostCall::CloseStream);
        works(&mut witness, profile);
    }
}

#[test]
fn nothing_passes_while_the_host_refuses_every_call() {
    let vm = start();
    let mut witness = Socket::open(&vm);
    for status in STATUSES {
        let mut open = Socket::open(&vm);
        for call in HostCall::ALL {
            vm.refuse(call, When::Always, Status(status));
        }
        for story in stories(Profile::Tunnel) {
            let seen = Seen { over: false, ..play(&story, &vm) };
            assert_eq!(seen, Seen::default(), "status {status}");
        }
        open.bridge(grpc(&wire::pong(1, b"a")));
        open.asks(&wire::fetch(1));
        vm.advance(Duration::from_secs(3));
        assert_eq!((open.answers(), open.requests()), (Vec::new(), Vec::new()), "status {status}");
        for call in HostCall::ALL {
            vm.allow(call);
        }
        open.bridge(grpc(&wire::pong(2, b"b")));
        assert_eq!((open.answers(), open.requests()), (Vec::new(), Vec::new()), "status {status}");
        witness.works();
    }
}

#[test]
fn failed_stream_is_reset_at_once_and_logged() {
    let vm = start();
    let client: fn(&mut Socket) = |socket| socket.asks(&wire::fetch(1));
    let bridge: fn(&mut Socket) = |socket| socket.bridge(grpc(&wire::pong(1, b"a")));
    for (call, act, what) in [
        (HostCall::GetBufferBytes, client, "pass on a client's bytes"),
        (HostCall::SetBufferBytes, client, "pass on a client's bytes"),
        (HostCall::GetBufferBytes, bridge, "pass on an answer"),
        (HostCall::SetBufferBytes, bridge, "pass on an answer"),
    ] {
        let mut socket = Socket::open(&vm);
        vm.refuse(call, When::Always, Status(77));
        act(&mut socket);
        vm.allow(call);
        assert!(socket.0.is_reset(), "{call:?}");
        let want = format!("sluicegate: failed to {what}: host status 77; the stream is ended");
        assert_eq!(vm.log().last().map(|line| line.text.clone()), Some(want), "{call:?}");
    }
    assert_eq!(vm.metric("sluicegate.errors.host_call"), Some(4));
    assert_eq!(vm.metric("sluicegate.sessions_open"), Some(0));
}
