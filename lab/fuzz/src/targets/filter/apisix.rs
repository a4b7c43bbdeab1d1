//! The filter as a whole, compiled, in a host that behaves as APISIX does.

use std::cell::RefCell;

use sluicegate_harness::apisix::{self, Outcome, Plugin, Route, Support, Worker};
use sluicegate_harness::{HostCall, Status, When};

use super::{HANDSHAKE, INPUTS, MEMORY, allow_all, covers, lines, loaded};
use crate::targets::parts;

/// A worker with a route for each configuration, and how many inputs it has had.
struct Running {
    routes: Vec<Route>,
    inputs: usize,
    worker: Worker,
}

/// A byte each for the configuration, a host call that fails, its status, and the answer; lines of request headers, NUL, and
/// those of the answer.
///
/// The filter does not trap, ends each request, stays within its memory, and serves the next client.
pub(in crate::targets) fn filter_apisix(input: &[u8]) {
    let (first, rest) = input.split_at(input.len().min(4));
    let [config, call, status, answer] = std::array::from_fn(|at| first.get(at).copied().unwrap_or_default());
    let [request, answered] = parts(rest);
    RUNNING.with_borrow_mut(|running| {
        let kept = running.take_if(|running| running.inputs < INPUTS);
        let mut kept = kept.unwrap_or_else(start);
        kept.inputs += 1;
        let Running { routes, worker, .. } = &kept;
        if let Some(refused) = calls().nth(usize::from(call % 16)) {
            worker.refuse(refused, When::Nth(u32::from(call / 16) + 1), Status(u32::from(status % 13)));
        }
        let headers = lines(&HANDSHAKE[..PLAIN], request);
        let mut stream = routes[usize::from(config) % routes.len()].request(headers, "body");
        if matches!(stream.outcome(), Outcome::Forwarded(_)) {
            // nginx' own answer, after so many bytes were sent; or the upstream's.
            match usize::from(answer % 16) {
                own @ 0..4 => _ = stream.upstream_fails([502, 504][own / 2], [0, 217][own % 2]),
                status => _ = stream.upstream_answers(STATUSES[status - 4], lines(&[], answered)),
            }
        }
        allow_all(worker);
        drop(stream);
        let trap = worker.trap();
        assert!(trap.is_none(), "{trap:?}\n{:#?}", worker.log());
        assert_eq!(worker.undone(), 0, "requests that have not ended");
        assert!(worker.memory_bytes() <= MEMORY, "{} bytes of memory", worker.memory_bytes());
        serves(worker, &routes[0]);
        covers(worker.take_coverage());
        *running = Some(kept);
    });
}

fn start() -> Running {
    let worker = loaded(Plugin::load).start().unwrap_or_else(|error| panic!("{error}"));
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

const STATUSES: [u16; 12] = [101, 200, 204, 400, 401, 403, 404, 408, 429, 500, 503, 504];

/// The host calls that work, and can be refused.
fn calls() -> impl Iterator<Item = HostCall> {
    let works = |call: &HostCall| apisix::support(&format!("env.{}", call.name())) == Some(Support::Works);
    HostCall::ALL.into_iter().filter(works)
}
