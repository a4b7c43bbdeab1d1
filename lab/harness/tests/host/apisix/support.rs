//! Small filters in APISIX, and what they logged.

use sluicegate_harness::apisix::{Outcome, Plugin, Route, Stream, Worker};
use sluicegate_harness::{Headers, Response};

use crate::support::{PRELUDE, functions, parse};

/// A worker with a filter of these callbacks, which is configured with anything unless they say otherwise.
pub(super) fn start(callbacks: &[(&str, &str)]) -> (Worker, Route) {
    let configured = callbacks.iter().any(|(name, _)| *name == "configure");
    let configure = if configured { &[][..] } else { &[("configure", "(i32.const 1)")] };
    let text = format!("{PRELUDE} {}", functions(&[callbacks, configure].concat()));
    let worker = Plugin::compile(&parse(&text)).expect("a plugin").start().expect("a worker");
    let route = worker.route("conf");
    (worker, route)
}

pub(super) fn log(worker: &Worker) -> Vec<String> {
    worker.log().into_iter().map(|line| line.text).collect()
}

/// A request without a body.
pub(super) fn get() -> Headers {
    crate::support::get()
}

#[track_caller]
pub(super) fn answered(stream: &Stream) -> Response {
    match stream.outcome() {
        Outcome::Answered(response) => response,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
pub(super) fn forwarded(stream: &Stream) -> Headers {
    match stream.outcome() {
        Outcome::Forwarded(headers) => headers,
        other => panic!("{other:?}"),
    }
}

/// The worker is gone, for this reason.
#[track_caller]
pub(super) fn lost(worker: &Worker, stream: &Stream, why: &str) {
    let trap = worker.trap().expect("a loss");
    assert!(trap.reason.contains(why), "{trap}");
    assert_eq!(stream.outcome(), Outcome::Lost);
}

pub(super) const UNAVAILABLE: Outcome = Outcome::Unavailable("failed to run wasm plugin");
