//! Every host call that the filter makes in APISIX, refused at every moment with every status.
//!
//! A request reaches the upstream unchanged by the refusal, or not at all. The client gets its answer or a refusal, and
//! the filter serves the next request.

use sluicegate_harness::apisix::{Outcome, Route};
use sluicegate_harness::{Headers, HostCall, Response, Status, When};

use crate::faults::{STATUSES, refused};
use crate::gateway::{ANSWERED, APISIX, PAGE, apisix, post, request};
use crate::socket::{configuration, sorted, upgrade};

/// A request, and the status by which the bridge answers it, if it does.
type Story = (Headers, Option<u16>);

fn forged(request: Headers) -> Headers {
    request
        .with("sluicegate-cluster", "evil")
        .with("sluicegate-gateway-secret", "guess")
        .with("sluicegate-write", "true")
}

fn stories() -> [Story; 7] {
    let from_page = |request: Headers| request.with("origin", PAGE);
    [
        (
            forged(upgrade().with("sec-websocket-protocol", "pubsub").with("sec-websocket-extensions", "x")),
            Some(101),
        ),
        (forged(upgrade()).without("upgrade"), None),
        (forged(request("GET", "/elsewhere")), None),
        (forged(from_page(post("/orders").with("te", "gzip"))), Some(200)),
        (forged(request("GET", "/kafka/topics")), Some(503)),
        (forged(from_page(post("/orders"))), None),
        (forged(request("GET", "/orders").with("upgrade", "websocket")), None),
    ]
}

/// The comparable outcome of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    /// With these headers, and the answer that the client got.
    Forwarded(Vec<String>, Vec<String>),
    Answered(u16, Vec<String>, String),
    Unavailable,
}

fn play(route: &Route, (request, answer): &Story) -> Seen {
    let mut stream = route.request(request, "");
    match stream.outcome() {
        Outcome::Forwarded(headers) => {
            let answer = match answer {
                Some(status) => stream.upstream_answers(*status, [ANSWERED, ("x", "y")]),
                None => stream.upstream_fails(502, 217).map(|page| page.headers),
            };
            // Without the client's address, the bridge counts for the gateway's.
            let headers = sorted(&headers.without("sluicegate-client"));
            Seen::Forwarded(headers, sorted(&answer.expect("an answer")))
        }
        Outcome::Answered(response) => {
            Seen::Answered(response.status(), sorted(&response.headers), response.text())
        }
        Outcome::Unavailable(_) => Seen::Unavailable,
        other => panic!("{other:?}"),
    }
}

/// A forwarded request is the right one, and the client gets the bridge's answer, or nginx's page unchanged.
fn is_harmless(seen: &Seen, whole: &Seen) -> bool {
    match (seen, whole) {
        _ if seen == whole => true,
        (Seen::Forwarded(lines, answer), Seen::Forwarded(whole, want)) => {
            let status = answer.first();
            lines == whole
                && (status == want.first() || status.is_some_and(|status| status == ":status: 502"))
        }
        (Seen::Forwarded(..), _) => false,
        (Seen::Answered(status, ..), _) => *status >= 400,
        (Seen::Unavailable, _) => true,
    }
}

#[test]
fn no_refusal_lets_a_request_pass_half_done() {
    let worker = apisix();
    let route = worker.route(configuration(APISIX));
    for story in stories() {
        let whole = play(&route, &story);
        for call in HostCall::ALL {
            for status in STATUSES.map(Status) {
                // A host that says that a header or a variable is not there is believed.
                let asks =
                    [HostCall::GetHeaderMapValue, HostCall::GetProperty, HostCall::RemoveHeaderMapValue];
                let believed = asks.contains(&call) && status == Status::NOT_FOUND;
                for (when, seen) in refused(&worker, call, status, || play(&route, &story)) {
                    assert!(
                        worker.trap().is_none() && (believed || is_harmless(&seen, &whole)),
                        "{call:?}, {status:?}, {when:?}: {seen:#?}\nbut {whole:#?}"
                    );
                }
            }
        }
        assert_eq!(play(&route, &story), whole, "the filter is what it was");
    }
}

#[test]
fn filter_recovers_from_a_host_that_refuses_every_call() {
    let worker = apisix();
    let route = worker.route(configuration(APISIX));
    let whole = stories().map(|story| play(&route, &story));
    for status in STATUSES {
        for call in HostCall::ALL {
            worker.refuse(call, When::Always, Status(status));
        }
        for story in stories() {
            assert_eq!(play(&route, &story), Seen::Unavailable, "status {status}");
        }
        for call in HostCall::ALL {
            worker.allow(call);
        }
        assert_eq!(stories().map(|story| play(&route, &story)), whole);
        assert_eq!(worker.trap(), None);
    }
}

/// The secret was there when the upgrade failed.
#[test]
fn failed_upgrade_logs_no_gateway_headers() {
    let worker = apisix();
    let route = worker.route(configuration(APISIX));
    worker.refuse(HostCall::SetProperty, When::Always, Status(77));
    let stream = route.request(forged(upgrade()), "");
    assert_eq!(stream.outcome().response().map(Response::status), Some(500));
    let logged = sorted(&stream.logged());
    assert!(!logged.iter().any(|line| line.starts_with("sluicegate-")), "{logged:#?}");
    let text = "sluicegate: failed to answer a request: host status 77; the stream is ended";
    assert_eq!(worker.log().last().map(|line| line.text.clone()), Some(text.to_owned()));
}

#[test]
fn failed_removal_of_a_gateway_header_is_logged() {
    let worker = apisix();
    let route = worker.route(configuration(APISIX));
    let mut stream = route.request(upgrade(), "");
    worker.refuse(HostCall::RemoveHeaderMapValue, When::Nth(3), Status(77));
    let answer = stream.upstream_answers(101, [("x", "y")]).expect("an answer");
    assert_eq!((answer.text(":status"), answer.text("x")), (Some("101"), Some("y")));
    let text = "sluicegate: failed to remove sluicegate-gateway-secret from the headers that plugins log: \
                host status 77";
    assert_eq!(worker.log().into_iter().map(|line| line.text).collect::<Vec<_>>(), [text]);
}
