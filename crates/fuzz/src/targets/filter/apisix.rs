//! The filter as a whole, compiled, in a host that behaves as APISIX does.

use std::cell::RefCell;
use std::sync::atomic::Ordering;

use sluicegate_harness::apisix::{Outcome, Plugin, Route, Worker};
use sluicegate_harness::{HostCall, Status, When};

use super::{COUNTERS, HANDSHAKE, INPUTS, MEMORY, lines, module};
use crate::targets::parts;

/// A worker with a route for each configuration, and how many inputs it has had.
struct Running {
    routes: Vec<Route>,
    inputs: usize,
    /// Declared after its routes, so that it is dropped last.
    worker: Worker,
}

/// A byte each for the configuration, a host call that fails, and the answer; lines of request headers, NUL, and those of the
/// answer.
///
/// The filter does not trap, keeps no request, stays within its memory, and serves the next client.
pub(in crate::targets) fn filter_apisix(input: &[u8]) {
    let (first, rest) = input.split_at(input.len().min(3));
    let [config, call, answer] = std::array::from_fn(|at| first.get(at).copied().unwrap_or_default());
    let [request, answered] = parts(rest);
    RUNNING.with_borrow_mut(|running| {
        let kept = running.take_if(|running| running.inputs < INPUTS);
        let mut kept = kept.unwrap_or_else(start);
        kept.inputs += 1;
        let Running { routes, worker, .. } = &kept;
        let call_number = usize::from(call % 16);
        if let Some(call_kind) = CALLS.get(call_number) {
            worker.refuse(*call_kind, When::Nth(u32::from(call / 16) + 1), Status(u32::from(answer % 13)));
        }
        let headers = lines(&HANDSHAKE[..PLAIN], request);
        let mut stream = routes[usize::from(config) % routes.len()].request(headers, "body");
        if matches!(stream.outcome(), Outcome::Forwarded(_)) {
            let code = u16::from(answer);
            match answer % 4 {
                0 => _ = stream.upstream_fails(502, code),
                1 => _ = stream.upstream_fails(504, code),
                2 => _ = stream.upstream_answers(101, lines(&[], answered)),
                _ => _ = stream.upstream_answers(200 + code, lines(&[], answered)),
            }
        }
        CALLS.iter().for_each(|call| worker.allow(*call));
        drop(stream);
        assert!(worker.trap().is_none(), "{:#?}", worker.log());
        assert_eq!(worker.open_streams(), 0, "requests are kept");
        assert!(worker.memory_bytes() <= MEMORY, "{} bytes of memory", worker.memory_bytes());
        serves(worker, &routes[0]);
        for (counter, count) in COUNTERS.iter().zip(worker.take_coverage()) {
            counter.store(count, Ordering::Relaxed);
        }
        *running = Some(kept);
    });
}

fn start() -> Running {
    let path = module();
    let plugin =
        Plugin::load(path).unwrap_or_else(|error| panic!("failed to {error}: run `just wasm` first"));
    let worker = plugin.start().unwrap_or_else(|error| panic!("{error}"));
    Running { routes: CONFIGS.map(|conf| worker.route(conf)).into(), inputs: 0, worker }
}

/// Checks that the next client's request goes on to the bridge.
fn serves(worker: &Worker, route: &Route) {
    let mut stream = route.request(lines(&HANDSHAKE[..PLAIN], b":path:/orders\n:method:POST"), "body");
    assert!(matches!(stream.outcome(), Outcome::Forwarded(_)), "{:?}\n{:#?}", stream.outcome(), worker.log());
    let answered = stream.upstream_answers(200, lines(&[], b"x:y")).unwrap();
    assert_eq!(answered.text("x"), Some("y"));
}

thread_local! {
    static RUNNING: RefCell<Option<Running>> = const { RefCell::new(None) };
}

/// The headers of the handshake that every request has.
const PLAIN: usize = 4;

/// Of the routes. The last three cannot be used.
const CONFIGS: [&str; 7] = [
    r#"{"type": "produce", "topic": "orders", "headerprefix": "x-", "overrides": ["key"], "gateway_secret": "s3cret-of-the-gateway"}"#,
    r#"{"type": "rest", "path": "/kafka", "write": true, "topics": ["*"], "origins": ["https://app.example"], "credentials": true}"#,
    r#"{"topics": ["orders"], "write": true, "subprotocols": ["pubsub.v2", "pubsub"],
        "identity": {"from": "token", "name": "main", "query": "t", "cookie": "sid"}, "origins": ["https://app.example"]}"#,
    r#"{"type": "produce", "topic": "orders", "origins": [], "gateway_secret": "s3cret-of-the-gateway",
        "kafka": {"nodes": {"kafka-1:9092": 1}, "sasl": {"username": "u", "password": "p"}}}"#,
    r#"{"profile": "tunel"}"#,
    r#"{"type": "#,
    "",
];

/// The host calls that can be refused.
const CALLS: [HostCall; 8] = [
    HostCall::GetBufferBytes,
    HostCall::GetHeaderMapPairs,
    HostCall::GetHeaderMapValue,
    HostCall::GetProperty,
    HostCall::Log,
    HostCall::RemoveHeaderMapValue,
    HostCall::ReplaceHeaderMapValue,
    HostCall::SendLocalResponse,
];
