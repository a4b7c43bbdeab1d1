//! In Envoy's host.

use std::time::Duration;

use sluicegate_harness::envoy::{Filter, Outcome, Settings, Stream, Vm};
use sluicegate_harness::{Headers, Level, LogLine, Response};

use super::{get, module, texts};

fn guest() -> Filter {
    Filter::load(module()).expect("a module for Envoy")
}

fn start() -> Vm {
    guest().start("words").expect("a started module")
}

/// The log since the module was configured.
fn log(vm: &Vm) -> Vec<String> {
    texts(vm.log()).split_off(2)
}

/// A request whose body follows.
fn post(path: &str) -> Headers {
    get(path).without(":method").with(":method", "POST").with("transfer-encoding", "chunked")
}

#[track_caller]
fn forwarded(stream: &Stream) -> Headers {
    match stream.outcome() {
        Outcome::Forwarded(headers) => headers,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn answered(stream: &Stream) -> Response {
    match stream.outcome() {
        Outcome::Answered(response) => response,
        other => panic!("{other:?}"),
    }
}

#[test]
fn configurations_reach_their_callbacks() {
    let settings = Settings { vm_configuration: b"machine".to_vec(), ..Settings::from("words") };
    let vm = guest().start(settings).expect("a started module");
    let line = |text: &str| LogLine { level: Level::Info, text: text.to_owned() };
    assert_eq!(vm.log(), [line("vm: machine"), line("plugin: words")]);
    let refused = guest().start("refuse").err().expect("a refusal");
    assert_eq!((refused.stage, refused.trap), ("configure", None));
}

#[test]
fn logged_lines_keep_their_levels() {
    let vm = start();
    let _stream = vm.request(get("/log"));
    let line = |level, text: &str| LogLine { level, text: text.to_owned() };
    let want = [line(Level::Warn, "4 headers, end true"), line(Level::Error, "None")];
    assert_eq!(vm.log().split_off(2), want);
}

#[test]
fn request_headers_are_added_set_removed_listed_and_replaced() {
    let vm = start();
    let request =
        |path: &str| get(path).with("x-set", "client's").with("x-remove", "1").with("x-remove", "2");
    let forwarded = |path| forwarded(&vm.request(request(path)));
    let want = request("/header").without("x-set").with("x-added", "a").with("x-set", "b");
    assert_eq!(forwarded("/header"), want);
    assert_eq!(forwarded("/remove"), get("/remove").with("x-set", "client's"));
    assert_eq!(forwarded("/headers"), request("/headers"));
    assert_eq!(log(&vm), [":method :path :scheme :authority x-set x-remove x-remove"]);
    assert_eq!(forwarded("/replace"), [(":method", "PUT"), (":path", "/replaced"), ("x", "y")].into());
}

#[test]
fn local_response_reaches_the_client_in_its_form() {
    let vm = start();
    let response = answered(&vm.request(get("/respond")));
    let headers = [
        (":status", "418"),
        ("x-guest", "a"),
        ("x-guest", "b"),
        ("content-length", "15"),
        ("content-type", "text/plain"),
    ];
    assert_eq!((&response.headers, response.text().as_str()), (&headers.into(), "short and stout"));
    let headers = answered(&vm.request(get("/grpc").with("content-type", "application/grpc"))).headers;
    let told = [":status", "grpc-status", "grpc-message"].map(|name| headers.text(name));
    assert_eq!(told, [Some("200"), Some("5"), Some("no such thing")]);
}

#[test]
fn properties_are_read_and_set() {
    let vm = start();
    vm.set_property("plugin_name", "guest");
    for (name, want) in [("source.address", "10.0.0.9:50000"), ("plugin_name", "guest"), ("absent", "none")] {
        let _stream = vm.request(get("/property").with("x-property", name));
        assert_eq!(log(&vm).last().unwrap(), &format!("{name}: {want}"));
    }
    forwarded(&vm.request(get("/set-property")));
}

#[test]
fn held_request_passes_when_a_tick_resumes_it() {
    let vm = start();
    let stream = vm.request(get("/hold"));
    vm.advance(Duration::from_millis(499));
    assert_eq!((stream.outcome(), log(&vm).len()), (Outcome::Waiting, 0));
    vm.advance(Duration::from_millis(1));
    assert_eq!(forwarded(&stream), get("/hold"));
    assert_eq!(log(&vm), ["tick", "resuming /hold"]);
}

#[test]
fn reset_ends_the_clients_stream() {
    let vm = start();
    assert_eq!(vm.request(get("/reset")).outcome(), Outcome::Reset);
    forwarded(&vm.request(get("/resume")));
    assert_eq!(vm.open_streams(), 0);
}

#[test]
fn metrics_of_each_kind_are_counted() {
    let vm = start();
    let _streams = [(); 2].map(|()| vm.request(get("/metrics")));
    assert_eq!((vm.metric("guest.requests"), vm.metric("guest.level")), (Some(4), Some(4)));
    assert_eq!(vm.samples("guest.sizes"), [9, 9]);
}

#[test]
fn unknown_metrics_and_contexts_are_refused() {
    let vm = start();
    let _refused = [vm.request(get("/count")), vm.request(get("/context"))];
    assert_eq!(log(&vm), ["Err(NotFound)", "Err(BadArgument)"]);
}

#[test]
fn clock_is_the_hosts() {
    let vm = start();
    vm.advance(Duration::from_secs(7));
    let headers = forwarded(&vm.request(get("/time")));
    assert_eq!(headers.text("x-time"), Some(vm.now().as_secs().to_string().as_str()));
}

#[test]
fn buffered_request_body_is_replaced_as_a_whole() {
    let vm = start();
    let mut stream = vm.request(post("/body"));
    stream.client_sends("one ");
    stream.client_sends("two");
    assert_eq!((stream.to_upstream(), stream.held_bytes()), (Vec::new(), (7, 0)));
    stream.client_ends();
    assert_eq!((stream.to_upstream().as_slice(), stream.upstream_has_all()), (&b"ONE TWO"[..], true));
}

#[test]
fn request_trailers_are_changed() {
    let vm = start();
    let mut stream = vm.request(post("/trailers"));
    stream.client_trailers([("x-trailer", "a"), ("y", "b")]);
    assert_eq!(stream.trailers_to_upstream(), Some([("y", "b"), ("x-trailer", "a!")].into()));
}

#[test]
fn response_is_changed_piece_by_piece() {
    let vm = start();
    let mut stream = vm.request(get("/answer"));
    stream.upstream_headers([(":status", "200"), ("server", "s"), ("x", "y")], false);
    stream.upstream_sends("one", false);
    stream.upstream_sends("two", true);
    let response = stream.response().unwrap();
    assert_eq!(response.headers, [(":status", "200"), ("x", "y"), ("x-status", "200")].into());
    assert_eq!((response.text().as_str(), response.complete), ("[one][two].", true));
    assert_eq!(log(&vm), [":status x x-status"]);
}

#[test]
fn contexts_end_in_order_and_no_tick_follows_the_roots() {
    let vm = start();
    let mut stream = vm.request(get("/contexts"));
    stream.upstream_headers([(":status", "204")], true);
    let held = vm.request(get("/hold"));
    drop((stream, held));
    vm.shut_down();
    vm.advance(Duration::from_secs(5));
    let ended = r#"stream 2 of /contexts ended with "204""#;
    assert_eq!(log(&vm), [ended, "stream 2 done", "root done", "tick"]);
}

#[test]
fn header_value_that_is_not_utf_8_traps() {
    let vm = start();
    let _stream = vm.request(get("/").without(":path").with(":path", b"/\xff"));
    assert!(vm.trap().is_some_and(|trap| trap.callback == "proxy_on_request_headers"));
}

#[test]
fn exhausted_memory_traps() {
    let vm = start();
    vm.limit_memory(vm.memory_bytes());
    let mut stream = vm.request(post("/body"));
    for _ in 0..15 {
        stream.client_sends([b'a'; 64 << 10]);
    }
    stream.client_ends();
    assert!(vm.trap().is_some_and(|trap| trap.callback == "proxy_on_request_body"));
}
