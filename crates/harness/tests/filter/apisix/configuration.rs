//! Which gateway the filter is in, and a configuration that APISIX finds out about with the first request.

use sluicegate_harness::apisix::{Outcome, Worker};
use sluicegate_harness::{HostCall, Level, Status, Vm, When};

use crate::gateway::{apisix, calling};
use crate::plain::post;
use crate::socket::{configuration, filter, settings};

const UNCONFIGURED: Outcome = Outcome::Unavailable("failed to fetch wasm plugin ctx");

fn conf(own: &str) -> String {
    configuration(own)
}

/// Every request is refused, and the log says why, for the request and again for the headers of its answer.
#[track_caller]
fn refused(worker: &Worker, conf: &str, mistakes: &[&str]) {
    let before = worker.log().len();
    assert_eq!(worker.route(conf).request(post("/orders"), "body").outcome(), UNCONFIGURED, "{conf}");
    let lines = worker.log().split_off(before);
    assert!(lines.iter().all(|line| line.level == Level::Error));
    let once: Vec<_> =
        mistakes.iter().map(|mistake| format!("sluicegate: bad configuration: {mistake}")).collect();
    let texts: Vec<_> = lines.into_iter().map(|line| line.text).collect();
    assert_eq!(texts, [once.clone(), once].concat(), "{conf}");
}

#[test]
fn the_gateway_is_found_out_or_forced() {
    let worker = apisix();
    for own in [r#""profile": "tunnel""#, r#""host": "apisix""#] {
        let route = worker.route(conf(own));
        assert_eq!(
            calling(&route.request(post("/orders"), "")).url,
            "http://127.0.0.1:7400/sluicegate.v1.Bridge/Call"
        );
    }
    assert_eq!(worker.log(), []);
}

#[test]
fn a_gateway_that_is_forced_and_is_another_is_said_so() {
    let worker = apisix();
    let ticks = "host: \"apisix\" is expected: Envoy has ticks, and here the answer is host status 12";
    refused(&worker, &conf(r#""host": "envoy""#), &[ticks]);
    refused(&worker, &conf(r#""host": "nginx""#), &["host: \"envoy\" or \"apisix\" is expected"]);
}

/// Envoy told to be APISIX starts: the filter cannot know better.
#[test]
fn a_host_that_answers_neither_way_is_not_guessed_at() {
    let worker = apisix();
    for status in [1, 2, 10, 77] {
        worker.refuse(HostCall::SetTickPeriodMilliseconds, When::Always, Status(status));
        let expected = format!(
            "host: \"envoy\" or \"apisix\" is expected: to a request for ticks, which tells the two apart, the answer is host status {status}"
        );
        refused(&worker, &conf(r#""profile": "tunnel""#), &[&expected]);
        // What is said in the configuration needs no answer.
        let route = worker.route(conf(r#""host": "apisix""#));
        calling(&route.request(post("/orders"), ""));
        worker.allow(HostCall::SetTickPeriodMilliseconds);
    }
    let vm: Vm = filter()
        .start(settings(&conf(r#""host": "envoy", "profile": "tunnel""#)))
        .unwrap_or_else(|error| panic!("{error}"));
    assert!(vm.tick_period().is_some());
}

#[test]
fn the_bridge_is_an_address_here() {
    let worker = apisix();
    for bad in
        ["sluicegate_bridge", "http://bridge:7400", "bridge:7400/", "https://bridge", ":7400", "bridge:0"]
    {
        let expected = "bridge: the bridge as \"host:port\" or \"https://host:port\" is expected";
        refused(&worker, &conf(&format!(r#""bridge": "{bad}""#)), &[expected]);
    }
}

#[test]
fn a_configuration_that_was_put_right_is_taken_without_a_restart() {
    let worker = apisix();
    refused(
        &worker,
        "{}",
        &[
            r#"routes: an array of at least one route is expected, or in its place at least one of a route's settings, such as "type": "pubsub""#,
        ],
    );
    let route = worker.route(r#"{"type": "produce", "topic": "orders", "overrides": {}}"#);
    calling(&route.request(post("/wherever"), "body"));
}
