//! Plain HTTP with anything in it, at any time: one filter lives through all of it, and a session beside it goes on.

use std::cell::RefCell;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use prost::bytes::Bytes;
use sluicegate_harness::{HostCall, Outcome, Status, Stream, Vm, When};

use crate::faults::CALLS;
use crate::plain;
use crate::socket::{Profile, Socket};

/// A request, and what happens to it afterwards.
type Case = (&'static str, &'static str, Vec<(&'static str, Bytes)>, Vec<Event>);

#[derive(Debug, Clone)]
enum Event {
    Client(Bytes),
    ClientEnds,
    ClientTrailers,
    ClientResets,
    Answer(u32, String, Bytes, String),
    AnswerBytes(Bytes),
    Fail(u32),
    /// The end of a call that is not there.
    Stray(u32, u32),
    Refuse(HostCall, u32, u32),
    Wait(u64),
}

fn case() -> impl Strategy<Value = Case> {
    let method = prop::sample::select(vec!["POST", "GET", "HEAD", "OPTIONS", "DELETE", "x"]);
    let path = prop::sample::select(vec![
        "/orders",
        "/orders?x",
        "/kafka",
        "/kafka/topics#x",
        "/public/%2F?a=%",
        "/x",
    ]);
    let name = prop::sample::select(vec![
        "content-type",
        "accept",
        "x-key",
        "r-a",
        "origin",
        "access-control-request-method",
        "access-control-request-headers",
        "content-length",
        "upgrade",
        "sluicegate-cluster",
    ]);
    let value = value(vec![
        "https://app.example",
        "application/grpc",
        "POST",
        "100",
        "application/vnd.kafka.v2+json",
    ]);
    (method, path, vec((name, value), 0..4), vec(event(), 1..10))
}

/// A header's: mostly one of `known`, else any bytes that a gateway lets pass.
pub(crate) fn value(known: Vec<&'static str>) -> impl Strategy<Value = Bytes> {
    let passes = any::<u8>().prop_filter("a line break or NUL", |byte| !b"\0\r\n".contains(byte));
    prop_oneof![
        3 => prop::sample::select(known).prop_map(|text| Bytes::from(text.as_bytes())),
        1 => vec(passes, 0..40).prop_map(Bytes::from),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let bytes = |size| vec(any::<u8>(), 0..size).prop_map(Bytes::from);
    prop_oneof![
        6 => bytes(3_000).prop_map(Event::Client),
        6 => Just(Event::ClientEnds),
        1 => Just(Event::ClientTrailers),
        1 => Just(Event::ClientResets),
        4 => (0_u32..700, "[a-z:-]{0,16}", bytes(30), ".{0,200}")
            .prop_map(|(status, name, value, body)| Event::Answer(status, name, value, body)),
        1 => bytes(60).prop_map(Event::AnswerBytes),
        2 => (0_u32..20).prop_map(Event::Fail),
        1 => any::<(u32, u32)>().prop_map(|(token, code)| Event::Stray(token, code)),
        1 => (prop::sample::select(CALLS.to_vec()), 1_u32..9, 1_u32..14)
            .prop_map(|(call, nth, status)| Event::Refuse(call, nth, status)),
        1 => (0_u64..50_000).prop_map(Event::Wait),
    ]
}

/// The filter, and a session that has to go on.
struct Worker {
    vm: Vm,
    witness: Socket,
}

impl Worker {
    fn start(profile: Profile) -> Self {
        let keys = r#", "max_message_bytes": 4096, "max_body_bytes": 4096, "max_assembly_bytes": 8192"#;
        let vm = profile.start_with(keys);
        let witness = Socket::open(&vm, profile);
        Self { vm, witness }
    }

    /// Plays one case; what it says is what went wrong.
    fn play(&mut self, (method, path, headers, events): &Case) -> Result<(), String> {
        let request = headers
            .iter()
            .fold(plain::post(path), |request, (name, value)| request.with(name, value))
            .without(":method")
            .with(":method", method);
        let mut stream = self.vm.request(request);
        for event in events {
            self.happen(&mut stream, event);
        }
        for call in CALLS {
            self.vm.allow(call);
        }
        if let Some(trap) = self.vm.trap() {
            return Err(format!("{trap}\n{:#?}", self.vm.log()));
        }
        let passed = stream.upstream_request().is_some();
        if passed && *path != "/x" {
            return Err(format!("a request of ours has passed: {:?}", stream.outcome()));
        }
        if let Outcome::Answered(response) = stream.outcome() {
            assert!((200..=599).contains(&response.status()), "{response:?}");
        }
        drop(stream);
        for call in self.vm.grpc_calls() {
            self.vm.fail_grpc_call(call.token, 1, "");
        }
        self.witness.works();
        plain::works(&self.vm);
        Ok(())
    }

    fn happen(&self, stream: &mut Stream, event: &Event) {
        let vm = &self.vm;
        let call = vm.grpc_calls().first().map(|call| call.token);
        match (event, call) {
            (Event::Client(bytes), _) => stream.client_sends(bytes),
            (Event::ClientEnds, _) => stream.client_ends(),
            (Event::ClientTrailers, _) => stream.client_trailers([("x", "y")]),
            (Event::ClientResets, _) => stream.client_resets(),
            (Event::Answer(status, name, value, body), Some(token)) => {
                let value = String::from_utf8_lossy(value);
                vm.answer_grpc_call(token, plain::answer_of(*status, &[(name, &value)], body));
            }
            (Event::AnswerBytes(bytes), Some(token)) => vm.answer_grpc_call(token, bytes),
            (Event::Fail(code), Some(token)) => vm.fail_grpc_call(token, *code, "failed"),
            (Event::Answer(..) | Event::AnswerBytes(_) | Event::Fail(_), None) => {}
            (Event::Stray(token, code), _) => vm.fail_grpc_call(*token, *code, "stray"),
            (Event::Refuse(call, nth, status), _) => vm.refuse(*call, When::Nth(*nth), Status(*status)),
            (Event::Wait(milliseconds), _) => vm.advance(Duration::from_millis(*milliseconds)),
        }
    }
}

#[track_caller]
fn check(profile: Profile) {
    let config = Config { cases: 1_000, source_file: Some(file!()), ..Config::default() };
    let worker = RefCell::new(Worker::start(profile));
    let outcome = TestRunner::new(config).run(&case(), |case| {
        let played = worker.borrow_mut().play(&case);
        played.map_err(|error| {
            // The next, smaller case needs a filter that lives.
            worker.replace(Worker::start(profile));
            TestCaseError::fail(error)
        })
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    let Worker { vm, witness } = worker.into_inner();
    drop(witness);
    assert_eq!(vm.open_streams(), 0);
    // One in two cases must reach the bridge, or the rest says little: each is followed by one that surely does.
    let count = |name| vm.metric(name).unwrap_or_default();
    let called = count("sluicegate.http.requests") - count("sluicegate.http.refused");
    assert!(called > 1_500, "{called} calls");
}

#[test]
fn a_thousand_random_plain_requests_in_a_tunnel_harm_nobody() {
    check(Profile::Tunnel);
}

#[test]
fn a_thousand_random_plain_requests_behind_an_internal_listener_harm_nobody() {
    check(Profile::Internal);
}
