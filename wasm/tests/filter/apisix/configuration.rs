//! Detection of the gateway, and a configuration that APISIX reads at the first request.

use std::iter;

use sluicegate_harness::apisix::{Outcome, Route, Worker};
use sluicegate_harness::{HostCall, Level, Status, When};

use crate::gateway::{apisix, post};
use crate::socket::{configuration, start_configured};

const UNCONFIGURED: Outcome = Outcome::Unavailable("failed to fetch wasm plugin ctx");

/// Every request is refused, and the log says why, for the request and again for the headers of its answer.
#[track_caller]
fn refused(worker: &Worker, conf: &str, mistakes: &[&str]) {
    let before = worker.log().len();
    assert_eq!(worker.route(conf).request(post("/orders"), "body").outcome(), UNCONFIGURED, "{conf}");
    let lines = worker.log().split_off(before);
    assert!(lines.iter().all(|line| line.level == Level::Error));
    let once: Vec<_> =
        mistakes.iter().map(|mistake| format!("sluicegate: invalid configuration: {mistake}")).collect();
    let texts: Vec<_> = lines.into_iter().map(|line| line.text).collect();
    assert_eq!(texts, [once.clone(), once].concat(), "{conf}");
}

/// A request goes on to the bridge.
#[track_caller]
fn works(route: &Route) {
    let outcome = route.request(post("/orders"), "").outcome();
    assert!(
        matches!(&outcome, Outcome::Forwarded(headers) if headers.get("sluicegate-http").is_some()),
        "{outcome:?}"
    );
}

#[test]
fn repeated_mistake_is_logged_when_its_count_doubles() {
    let worker = apisix();
    let [bad, worse] =
        ["tunel", "tunnels"].map(|profile| configuration(&format!(r#""profile": "{profile}""#)));
    for _ in 0..32 {
        assert_eq!(worker.route(&bad).request(post("/orders"), "body").outcome(), UNCONFIGURED);
    }
    assert_eq!(worker.log().len(), 7, "of 64 times: 1, 2, 4, 8, 16, 32 and 64");
    let mistake = r#"profile: must be "tunnel" or "relay""#;
    assert_eq!(worker.route(&worse).request(post("/orders"), "body").outcome(), UNCONFIGURED);
    assert_eq!(worker.log().len(), 7, "the same mistake of another route");
    refused(&worker, &configuration(r#""wider": 1"#), &["wider: unknown key"]);
    let lines = worker.log().into_iter().take(7).map(|line| line.text);
    assert!(lines.eq(iter::repeat_n(format!("sluicegate: invalid configuration: {mistake}"), 7)));
}

/// Envoy told to be APISIX starts: the filter cannot know better.
#[test]
fn undetectable_gateway_is_not_guessed() {
    let worker = apisix();
    let ticks = "host: must be \"apisix\": Envoy has ticks, but this gateway answers host status 12";
    refused(&worker, &configuration(r#""host": "envoy""#), &[ticks]);
    for status in [1, 2, 10, 77] {
        worker.refuse(HostCall::SetTickPeriodMilliseconds, When::Always, Status(status));
        let expected = format!(
            "host: must be \"envoy\" or \"apisix\"; the gateway cannot be detected, as it answers a request for ticks \
             with host status {status}"
        );
        refused(&worker, &configuration(r#""profile": "tunnel""#), &[&expected]);
        // A configured host needs no detection.
        works(&worker.route(configuration(r#""host": "apisix""#)));
        worker.allow(HostCall::SetTickPeriodMilliseconds);
    }
    let vm = start_configured(&configuration(r#""host": "envoy", "profile": "tunnel""#));
    assert!(vm.tick_period().is_some());
}
