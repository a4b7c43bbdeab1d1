//! The filter as a whole, compiled, in a host that behaves as Envoy does; `apisix` has it in the other one.

pub(super) mod apisix;

use std::cell::RefCell;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use prost::Message;
use sluicegate_harness::envoy::{Filter, Outcome, Stream, Vm};
use sluicegate_harness::{Controls, Headers, HostCall, LoadError, Status, When};
use sluicegate_protocol::control_req::Control;
use sluicegate_protocol::grpc::{self, HEAD_LEN};
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::{CONTROL_PREFIX, PubSubReq};

use super::parts;

/// A filter, and how many inputs it has had.
struct Worker {
    vm: Vm,
    inputs: usize,
}

/// The configuration, lines of request headers, NUL, and what happens to the stream: see [`play`].
///
/// The filter does not trap, tells the bridge only words of its own, keeps no session, stays within its memory, and serves
/// the next client.
pub(super) fn filter(input: &[u8]) {
    let Some((config, rest)) = input.split_first() else { return };
    let config = usize::from(*config) % CONFIGS.len();
    let [request, events] = parts(rest);
    WORKERS.with_borrow_mut(|workers| {
        let worker = workers[config].take_if(|worker| worker.inputs < INPUTS);
        let mut worker = worker.unwrap_or_else(|| {
            let vm = loaded(Filter::load).start(CONFIGS[config]).unwrap_or_else(|error| panic!("{error}"));
            Worker { vm, inputs: 0 }
        });
        worker.inputs += 1;
        let mut stream = worker.vm.request(lines(&HANDSHAKE, request));
        let told = stream.upstream_request();
        play(&worker.vm, &mut stream, &accepted(), events);
        allow_all(&worker.vm);
        if let Some(headers) = told.filter(|headers| headers.get("sluicegate-cluster").is_some()) {
            check_told(&headers, &stream.to_upstream());
        }
        drop(stream);
        assert!(worker.vm.trap().is_none(), "{:?}\n{:#?}", worker.vm.trap(), worker.vm.log());
        serves(&worker.vm, accepted());
        assert_eq!(worker.vm.metric("sluicegate.sessions_open").unwrap_or_default(), 0, "sessions are kept");
        assert!(worker.vm.memory_bytes() <= MEMORY, "{} bytes of memory", worker.vm.memory_bytes());
        covers(worker.vm.take_coverage());
        workers[config] = Some(worker);
    });
}

/// The compiled filter, as a host loads it from its path.
fn loaded<F>(load: impl FnOnce(String) -> Result<F, LoadError>) -> F {
    let path = std::env::var("SLUICEGATE_FILTER").unwrap_or_else(|_| BUILT.to_owned());
    load(path).unwrap_or_else(|error| panic!("failed to {error}: run `just wasm` first"))
}

/// Tells libFuzzer the coverage of an input.
fn covers(counts: Vec<u8>) {
    for (counter, count) in COUNTERS.iter().zip(counts) {
        counter.store(count, Ordering::Relaxed);
    }
}

/// These headers, with those of lines `name: value` in place of them.
fn lines(own: &[(&str, &str)], lines: &[u8]) -> Headers {
    let mut headers = own.iter().fold(Headers::default(), |headers, (name, value)| headers.with(name, value));
    for line in lines.split(|byte| *byte == b'\n').take(20) {
        let Some(at) = line.iter().skip(1).position(|byte| *byte == b':') else { continue };
        let (name, value) = line.split_at(at + 1);
        let Ok(name) = std::str::from_utf8(name) else { continue };
        // The codecs of gateways let nothing else through.
        let is_name = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b':' | b'-');
        if name.bytes().all(is_name) && !value.contains(&b'\r') {
            headers = headers.without(name).with(name, value[1..].trim_ascii());
        }
    }
    headers
}

/// The bridge is told of a cluster of the configuration. In a session of protobuf, it gets whole messages, no control
/// message but the filter's own, and nothing but padding after a close.
fn check_told(headers: &Headers, mut bytes: &[u8]) {
    let cluster = headers.text("sluicegate-cluster");
    assert!(["orders", "payments", "default"].map(Some).contains(&cluster), "{headers:?}");
    let is_json = headers.text("sluicegate-subprotocol") == Some("sluicegate.v1.json");
    if headers.get("sluicegate-padded").is_none() || is_json {
        return;
    }
    let mut closed = false;
    while let Some((head, rest)) = bytes.split_first_chunk::<HEAD_LEN>() {
        let len = grpc::message_len(*head).expect("a message without compression");
        let (message, rest) = rest.split_at_checked(len as usize).expect("a whole message");
        bytes = rest;
        // The content of a client's command is for the bridge to judge.
        let control = match PubSubReq::decode(message).unwrap_or_default().req {
            Some(Req::Control(control)) => control.control,
            _ => None,
        };
        assert_eq!(control.is_some(), message.starts_with(&CONTROL_PREFIX), "{}", message.escape_ascii());
        assert!(!closed || matches!(control, Some(Control::Padding(_))), "something after a close");
        closed |= matches!(control, Some(Control::Close(_)));
    }
    assert!(bytes.is_empty(), "{}", bytes.escape_ascii());
}

/// Plays events: a byte for the kind, one for a length, and so many bytes.
fn play(vm: &Vm, stream: &mut Stream, accepted: &Headers, mut events: &[u8]) {
    while let Some(([kind, len], rest)) = events.split_first_chunk() {
        let (bytes, rest) = rest.split_at(usize::from(*len).min(rest.len()));
        events = rest;
        let first = bytes.first().copied().unwrap_or_default();
        let is_forwarded = matches!(stream.outcome(), Outcome::Forwarded(_));
        match kind % 16 {
            0 | 1 => stream.client_sends(bytes),
            // A frame with its mask, so that the fuzzer need not find one.
            2..=4 => stream.client_sends(frame(bytes)),
            5 => stream.client_ends(),
            6 => stream.client_resets(),
            7 => stream.client_trailers([("a", "b")]),
            8 => {
                let call = calls().cycle().nth(first.into()).expect("a call");
                vm.refuse(call, When::Nth(len.saturating_add(1).into()), Status(u32::from(first % 13)));
            }
            9 => vm.advance(Duration::from_millis(u64::from(*len) * 20)),
            _ if !is_forwarded => {}
            10 if first & 1 == 0 => stream.upstream_headers(accepted.clone(), false),
            10 => stream
                .upstream_headers([(":status", "200"), ("content-type", "application/grpc")], first & 2 == 0),
            11 | 12 => stream.upstream_sends(bytes, false),
            13 => {
                let len = u32::from(*len).to_be_bytes();
                stream.upstream_sends([&[0][..], &len, bytes].concat(), false);
            }
            14 => stream.upstream_trailers([("grpc-status", "0")]),
            _ => stream.upstream_resets(),
        }
    }
}

fn frame(bytes: &[u8]) -> Vec<u8> {
    let Some((first, payload)) = bytes.split_first() else { return Vec::new() };
    let len = u8::try_from(payload.len().min(125)).unwrap_or_default();
    let mut frame = vec![*first, 0x80 | len, 0, 0, 0, 0];
    frame.extend(payload.iter().take(len.into()));
    frame
}

/// The bridge's yes.
fn accepted() -> Headers {
    [(":status", "101"), ("upgrade", "websocket"), ("connection", "upgrade")].into()
}

/// Checks that the next client's session works.
fn serves(vm: &Vm, accepted: Headers) {
    let mut stream = vm.request(lines(&HANDSHAKE, b""));
    assert!(matches!(stream.outcome(), Outcome::Forwarded(_)), "{:?}\n{:#?}", stream.outcome(), vm.log());
    stream.upstream_headers(accepted, false);
    let ping = [&[0x82][..], &PING].concat();
    stream.client_sends(frame(&ping));
    let sent = stream.take_to_upstream();
    assert!(sent.windows(PING.len()).any(|bytes| bytes == PING), "{}", sent.escape_ascii());
}

thread_local! {
    static WORKERS: RefCell<[Option<Worker>; CONFIGS.len()]> = const { RefCell::new([const { None }; CONFIGS.len()]) };
}

/// The counters of the module's coverage, where libFuzzer finds them.
#[expect(unsafe_code, reason = "libFuzzer looks for counters of others in this section")]
#[unsafe(link_section = "__libfuzzer_extra_counters")]
static COUNTERS: [AtomicU8; 1 << 15] = [const { AtomicU8::new(0) }; 1 << 15];

/// A filter keeps its log, so it is replaced after so many inputs.
const INPUTS: usize = 5_000;

/// Bytes: the filter's own limits, and what its allocator does not give back.
const MEMORY: usize = 4 << 20;

const BUILT: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/wasm32-wasip1/wasm/sluicegate_filter.wasm");

const CONFIGS: [&str; 3] = [
    r#"{"profile": "tunnel", "gateway_secret": "s3cret-of-the-gateway", "max_message_bytes": 4096, "max_assembly_bytes": 8192, "routes": [
        {"path": "/pubsub", "cluster": "orders", "write": true, "topics": ["orders", "public.*"], "subprotocols": ["pubsub.v2", "pubsub"]},
        {"path": "/orders", "type": "produce", "cluster": "payments", "topic": "orders", "headerprefix": "x-", "overrides": ["key"],
         "recordheaderprefix": "r-", "origins": ["https://app.example"], "credentials": true},
        {"path": "/kafka", "type": "rest", "cluster": "payments", "write": true, "topics": ["*"], "origins": []}]}"#,
    r#"{"profile": "tunnel", "routes": [
        {"path": "/pubsub", "cluster": "orders", "topics": ["orders"]},
        {"path": "/mine", "identity": {"from": "token", "name": "main", "query": "t", "cookie": "sid"}, "topics": ["a.${sub}"], "write": true,
         "origins": ["https://app.example"]}]}"#,
    r#"{"profile": "relay", "gateway_secret": "s3cret-of-the-gateway", "routes": [
        {"path": "/pubsub", "cluster": "orders", "write": true, "topics": ["orders"]},
        {"path": "/orders", "type": "produce", "cluster": "payments", "topic": "orders"},
        {"path": "/kafka", "type": "rest", "cluster": "payments", "write": true, "topics": ["*"]}]}"#,
];

const HANDSHAKE: [(&str, &str); 8] = [
    (":method", "GET"),
    (":path", "/pubsub"),
    (":scheme", "http"),
    (":authority", "gateway.example"),
    ("upgrade", "websocket"),
    ("connection", "Upgrade"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("sec-websocket-version", "13"),
];

/// `PubSubReq` with sequence 7 and a `cmd_ping`.
const PING: [u8; 7] = [0x08, 0x07, 0x82, 0x02, 0x02, 0x0A, 0x00];

/// The host calls that can be refused, without those of the metrics, by which kept sessions are noticed.
fn calls() -> impl Iterator<Item = HostCall> + Clone {
    let metrics = [HostCall::DefineMetric, HostCall::IncrementMetric];
    HostCall::ALL.into_iter().filter(move |call| !metrics.contains(call))
}

fn allow_all(controls: &Controls) {
    for call in HostCall::ALL {
        controls.allow(call);
    }
}
