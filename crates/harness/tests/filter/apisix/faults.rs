//! Every host call that the filter makes in APISIX, refused at every moment with every status.
//!
//! Whatever is refused, a request goes on to the upstream only as it would have without, or without any word to the bridge; the
//! client gets its answer or a refusal; and the next request finds a filter that works.

use sluicegate_harness::apisix::{Outcome, Route};
use sluicegate_harness::{Headers, HostCall, Response, Status, When};

use crate::faults::{CALLS, STATUSES};
use crate::gateway::{APISIX, apisix, grpc_web, whole};
use crate::plain::{PAGE, answer_of, post, request};
use crate::socket::{configuration, sorted, upgrade};

/// More than any call is made in one of the stories below.
const MOMENTS: u32 = 24;

/// A request, and what the bridge answers to its call.
type Story = (Headers, &'static str, Option<Vec<u8>>);

fn forged(request: Headers) -> Headers {
    request
        .with("sluicegate-cluster", "evil")
        .with("sluicegate-gateway-secret", "guess")
        .with("sluicegate-write", "true")
}

fn stories() -> [Story; 8] {
    let answer = answer_of(200, &[("content-type", "application/json"), ("x", "y")], "{}");
    let from_page = |request: Headers| request.with("origin", PAGE);
    [
        (
            forged(upgrade().with("sec-websocket-protocol", "pubsub").with("sec-websocket-extensions", "x")),
            "",
            None,
        ),
        (forged(upgrade()).without("upgrade"), "", None),
        (forged(request("GET", "/elsewhere")), "", None),
        (forged(from_page(post("/orders").with("r-a", "1"))), "body", Some(answer.clone())),
        (forged(request("GET", "/kafka/topics")), "", Some(answer)),
        (forged(post("/orders")), "body", None),
        (post("/orders").with("content-length", "99999999"), "", None),
        (from_page(request("OPTIONS", "/orders").with("access-control-request-method", "POST")), "", None),
    ]
}

/// What came of a request, as far as it can be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Forwarded(Vec<String>),
    Answered(u16, Vec<String>, String),
    Unavailable,
}

fn play(route: &Route, (request, body, answer): &Story) -> Seen {
    let mut stream = route.request(request, body);
    match answer {
        Some(answer) => stream.bridge_answers(200, grpc_web(), whole(answer)),
        None => stream.bridge_fails(),
    }
    match stream.outcome() {
        Outcome::Forwarded(headers) => Seen::Forwarded(sorted(&headers)),
        Outcome::Answered(response) => {
            Seen::Answered(response.status(), sorted(&response.headers), response.text())
        }
        Outcome::Unavailable(_) => Seen::Unavailable,
        other => panic!("{other:?}"),
    }
}

/// What passes is what should have. Where the host refuses a last word for good, it passes what was to be answered: without
/// any word to the bridge.
fn is_harmless(seen: &Seen, whole: &Seen, wordless: bool) -> bool {
    match seen {
        _ if seen == whole => true,
        Seen::Forwarded(lines) => wordless && !lines.iter().any(|line| line.starts_with("sluicegate-")),
        Seen::Answered(status, ..) => *status >= 400,
        Seen::Unavailable => true,
    }
}

#[test]
fn no_refusal_lets_a_request_pass_half_done() {
    let worker = apisix();
    let route = worker.route(configuration(APISIX));
    for story in stories() {
        let whole = play(&route, &story);
        for call in CALLS {
            for status in STATUSES {
                for when in (1..=MOMENTS).map(When::Nth).chain([When::Always]) {
                    worker.refuse(call, when, Status(status));
                    let seen = play(&route, &story);
                    worker.allow(call);
                    let wordless = (call, when) == (HostCall::SendLocalResponse, When::Always);
                    // A host that says that a header is not there is believed.
                    let believed = [HostCall::GetHeaderMapValue, HostCall::RemoveHeaderMapValue]
                        .contains(&call)
                        && Status(status) == Status::NOT_FOUND;
                    assert!(
                        worker.trap().is_none() && (believed || is_harmless(&seen, &whole, wordless)),
                        "{call:?} refused with {status}, {when:?}: {seen:#?}\nbut {whole:#?}"
                    );
                }
            }
        }
        assert_eq!(play(&route, &story), whole, "the filter is what it was");
    }
}

#[test]
fn a_host_that_refuses_everything_is_survived_and_forgiven() {
    let worker = apisix();
    let route = worker.route(configuration(APISIX));
    let whole = stories().map(|story| play(&route, &story));
    for status in STATUSES {
        for call in CALLS {
            worker.refuse(call, When::Always, Status(status));
        }
        for story in stories() {
            assert_eq!(play(&route, &story), Seen::Unavailable, "status {status}");
        }
        for call in CALLS {
            worker.allow(call);
        }
        assert_eq!(stories().map(|story| play(&route, &story)), whole);
        assert_eq!(worker.trap(), None);
    }
}

/// The secret was there when the upgrade failed.
#[test]
fn an_upgrade_that_fails_half_way_is_logged_without_what_the_bridge_was_to_be_told() {
    let worker = apisix();
    let route = worker.route(configuration(APISIX));
    worker.refuse(HostCall::SetProperty, When::Always, Status(77));
    let stream = route.request(forged(upgrade()), "");
    assert_eq!(stream.outcome().response().map(Response::status), Some(500));
    let logged = sorted(&stream.logged());
    assert!(!logged.iter().any(|line| line.starts_with("sluicegate-")), "{logged:#?}");
}

#[test]
fn what_cannot_be_kept_from_the_log_is_said_and_the_answer_is_the_clients() {
    let worker = apisix();
    let route = worker.route(configuration(APISIX));
    let mut stream = route.request(upgrade(), "");
    worker.refuse(HostCall::RemoveHeaderMapValue, When::Nth(3), Status(77));
    let answer = stream.upstream_answers(101, [("x", "y")]).expect("an answer");
    assert_eq!((answer.text(":status"), answer.text("x")), (Some("101"), Some("y")));
    let text = "sluicegate: failed to remove sluicegate-gateway-secret from what is logged: host status 77";
    assert_eq!(worker.log().into_iter().map(|line| line.text).collect::<Vec<_>>(), [text]);
}

#[test]
fn every_refusal_that_ends_a_request_is_logged() {
    let worker = apisix();
    let route = worker.route(configuration(APISIX));
    worker.refuse(HostCall::GetHeaderMapPairs, When::Always, Status(77));
    let seen = play(&route, &stories()[0]);
    assert!(matches!(seen, Seen::Answered(500, ..)), "{seen:?}");
    let text = "sluicegate: failed to answer a request: host status 77, the stream is given up";
    assert_eq!(worker.log().last().map(|line| line.text.clone()), Some(text.to_owned()));
}
