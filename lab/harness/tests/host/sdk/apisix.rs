//! In APISIX's host.

use sluicegate_harness::Headers;
use sluicegate_harness::apisix::{Outcome, Plugin, Route, Stream, Worker};

use super::{get, module, texts};

fn start() -> (Worker, Route) {
    let worker = Plugin::load(module()).expect("a module for APISIX").start().expect("a worker");
    let route = worker.route("words");
    (worker, route)
}

/// The log since the first route was configured.
fn log(worker: &Worker) -> Vec<String> {
    texts(worker.log()).split_off(1)
}

#[track_caller]
fn forwarded(stream: &Stream) -> Headers {
    match stream.outcome() {
        Outcome::Forwarded(headers) => headers,
        other => panic!("{other:?}"),
    }
}

/// The request with its `Host` as nginx keeps it, in the order of its names.
fn lines(headers: &Headers) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(":authority", "host");
    let mut lines: Vec<_> = headers.iter().map(|(name, value)| (text(name), text(value))).collect();
    lines.sort_unstable();
    lines
}

#[test]
fn configuration_comes_with_the_first_request() {
    let (worker, route) = start();
    assert_eq!(worker.log(), []);
    forwarded(&route.request(get("/"), ""));
    assert_eq!(texts(worker.log()), ["plugin: words"]);
    let refused = worker.route("refuse").request(get("/"), "").outcome();
    assert_eq!(refused, Outcome::Unavailable("failed to fetch wasm plugin ctx"));
}

#[test]
fn request_headers_are_added_set_removed_and_listed() {
    let (worker, route) = start();
    let request = |path: &str| get(path).with("x-set", "client's").with("x-remove", "1");
    let forwarded = |path| lines(&forwarded(&route.request(request(path), "")));
    let set = request("/header").without("x-set").with("x-set", "b").with("x-added", "a");
    assert_eq!(forwarded("/header"), lines(&set));
    assert_eq!(forwarded("/remove"), lines(&request("/remove").without("x-remove")));
    assert_eq!(forwarded("/headers"), lines(&request("/headers")));
    assert_eq!(log(&worker), ["host x-set x-remove :scheme :path :method :authority"]);
}

#[test]
fn local_response_reaches_the_client() {
    let (_worker, route) = start();
    let stream = route.request(get("/respond"), "");
    let Outcome::Answered(response) = stream.outcome() else { panic!("{:?}", stream.outcome()) };
    assert_eq!((response.status(), response.text().as_str()), (418, "short and stout"));
    let values: Vec<_> = response.headers.iter().filter(|(name, _)| *name == b"x-guest").collect();
    assert_eq!(values, [(&b"x-guest"[..], &b"a"[..]), (b"x-guest", b"b")]);
}

#[test]
fn properties_are_nginx_variables() {
    let (worker, route) = start();
    for (name, want) in [("remote_addr", "10.0.0.9"), ("source.address", "none")] {
        forwarded(&route.request(get("/property").with("x-property", name), ""));
        assert_eq!(log(&worker).last().unwrap(), &format!("{name}: {want}"));
    }
    let moved = forwarded(&route.request(get("/set-property"), ""));
    assert_eq!(moved.text(":path"), Some("/elsewhere"));
}

#[test]
fn response_headers_are_changed_and_bodies_are_not_shown() {
    let (worker, route) = start();
    let mut stream = route.request(get("/answer"), "");
    let headers = stream.upstream_answers(200, [("server", "s"), ("x", "y")]).unwrap();
    assert_eq!((headers.get("server"), headers.text("x-status")), (None, Some("200")));
    assert_eq!(log(&worker), ["x x-status connection :status"]);
    forwarded(&route.request(get("/body"), "body"));
}

#[test]
fn ignored_calls_leave_the_request_as_it_is() {
    let (worker, route) = start();
    for path in ["/metrics", "/reset", "/resume", "/count", "/context"] {
        assert_eq!(lines(&forwarded(&route.request(get(path), ""))), lines(&get(path)));
    }
    assert_eq!(log(&worker), ["Ok(())", "Ok(())"]);
}

#[test]
fn contexts_end_with_their_route() {
    let (worker, route) = start();
    drop(route.request(get("/contexts"), ""));
    drop(route);
    assert_eq!(log(&worker), ["stream 2 done", "root done"]);
    assert_eq!((worker.undone(), worker.routes_in_use()), (1, 0));
}

/// The SDK's dispatcher stays borrowed after a trap, and the worker keeps using the instance.
#[test]
fn missing_call_traps_and_fails_every_later_request() {
    let unavailable = Outcome::Unavailable("failed to run wasm plugin");
    for path in ["/tick", "/time", "/replace"] {
        let (worker, route) = start();
        let other = worker.route("other");
        forwarded(&other.request(get("/"), ""));
        assert_eq!(route.request(get(path), "").outcome(), unavailable, "{path}");
        assert!(worker.trap().is_some_and(|trap| trap.callback == "proxy_on_request_headers"), "{path}");
        let panics = |words: &str| log(&worker).iter().filter(|line| line.ends_with(words)).count();
        assert_eq!(panics("unexpected status: 12"), 1, "{path}");
        let before = worker.log().len();
        let outcome = other.request(get("/"), "").outcome();
        assert!(matches!(outcome, Outcome::Unavailable(_)), "{path}: {outcome:?}");
        let later = texts(worker.log()).split_off(before);
        assert!(later.iter().any(|line| line.contains("already borrowed")), "{path}: {later:#?}");
        // The end of each context traps, too.
        drop((route, other));
        assert!(worker.trap().is_some(), "{path}");
    }
}
