//! Requests with anything in them, answers with anything in them, refusals at any time: one worker lives through all of it.

use std::cell::RefCell;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use prost::bytes::Bytes;
use sluicegate_harness::apisix::{Outcome, Route, Worker};
use sluicegate_harness::{Headers, HostCall, Status, When};

use crate::faults::CALLS;
use crate::gateway::{APISIX, Gateway, apisix, frame, grpc_web, whole};
use crate::plain::{answer_of, post};
use crate::plain_random::value;
use crate::socket::configuration;

/// Method, path, headers, body, and what happens.
type Case = (&'static str, &'static str, Vec<(&'static str, Bytes)>, Bytes, Vec<Event>);

#[derive(Debug, Clone)]
enum Event {
    Answer(u32, String, String),
    /// The status, one header and the bytes of an answer.
    Answers(u16, &'static str, String, Bytes),
    Status(u32),
    Fails,
    Refuse(HostCall, u32, u32),
}

fn case() -> impl Strategy<Value = Case> {
    let method = prop::sample::select(vec!["POST", "GET", "HEAD", "OPTIONS", "DELETE", "x"]);
    let path = prop::sample::select(vec![
        "/orders",
        "/orders?x",
        "/kafka",
        "/kafka/topics#x",
        "/public/%2F?a=%",
        "/pubsub",
        "/open",
        "/x",
        "",
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
        "connection",
        "sec-websocket-key",
        "sec-websocket-version",
        "sec-websocket-protocol",
        "sluicegate-cluster",
        "sluicegate-write",
    ]);
    let value = value(vec![
        "https://app.example",
        "application/grpc",
        "POST",
        "100",
        "websocket",
        "Upgrade",
        "13",
        "dGhlIHNhbXBsZSBub25jZQ==",
        "pubsub",
    ]);
    let body = vec(any::<u8>(), 0..6_000).prop_map(Bytes::from);
    (method, path, vec((name, value), 0..7), body, vec(event(), 1..6))
}

fn event() -> impl Strategy<Value = Event> {
    let bytes = |size| vec(any::<u8>(), 0..size).prop_map(Bytes::from);
    let name = prop::sample::select(vec!["grpc-status", "content-type", "x", "grpc-message"]);
    prop_oneof![
        6 => (0_u32..700, "[a-z:-]{0,16}", ".{0,200}").prop_map(|(status, name, body)| Event::Answer(status, name, body)),
        2 => (100_u16..600, name, "[ -~]{0,12}", bytes(60))
            .prop_map(|(status, name, value, body)| Event::Answers(status, name, value, body)),
        2 => (0_u32..20).prop_map(Event::Status),
        2 => Just(Event::Fails),
        2 => (prop::sample::select(CALLS.to_vec()), 1_u32..9, 1_u32..14)
            .prop_map(|(call, nth, status)| Event::Refuse(call, nth, status)),
    ]
}

struct Fixture {
    worker: Worker,
    route: Route,
    called: u32,
}

impl Fixture {
    fn start() -> Self {
        let keys = r#", "max_message_bytes": 4096, "max_body_bytes": 4096, "max_assembly_bytes": 8192"#;
        let worker = apisix();
        let route = worker.route(configuration(&format!("{APISIX}{keys}")));
        Self { worker, route, called: 0 }
    }

    /// Plays one case; what it says is what went wrong.
    fn play(&mut self, (method, path, headers, body, events): &Case) -> Result<(), String> {
        let request = headers.iter().fold(post(path), |request, (name, value)| request.and(name, value));
        let request = request.without(":method").with(":method", method);
        let refusals = events.iter().filter_map(|event| match event {
            Event::Refuse(call, nth, status) => Some((*call, *nth, *status)),
            _ => None,
        });
        let mut honest = true;
        for (call, nth, status) in refusals {
            honest = false;
            self.worker.refuse(call, When::Nth(nth), Status(status));
        }
        let mut stream = self.route.request(request, body);
        for event in events {
            let Outcome::Calling(_) = stream.outcome() else { break };
            self.called += 1;
            match event {
                Event::Answer(status, name, body) => {
                    let message = answer_of(*status, &[(name, "v")], body);
                    stream.bridge_answers(200, grpc_web(), whole(&message));
                }
                Event::Answers(status, name, value, body) => {
                    stream.bridge_answers(*status, Headers::default().and(name, value), body);
                }
                Event::Status(code) => {
                    let trailers = frame(0x80, format!("grpc-status:{code}").as_bytes());
                    stream.bridge_answers(200, grpc_web(), trailers);
                }
                Event::Fails => stream.bridge_fails(),
                Event::Refuse(..) => {}
            }
        }
        let outcome = stream.outcome();
        drop(stream);
        for call in CALLS {
            self.worker.allow(call);
        }
        if let Some(trap) = self.worker.trap() {
            return Err(format!("{trap}\n{:#?}", self.worker.log()));
        }
        match outcome {
            Outcome::Answered(response) if !(200..=599).contains(&response.status()) => {
                return Err(format!("{response:?}"));
            }
            Outcome::Forwarded(headers) if honest && !["/pubsub", "/open"].contains(path) => {
                return Err(format!("what is no upgrade has passed: {headers:?}"));
            }
            Outcome::Forwarded(headers) => {
                let words = ["orders", "default"].map(Some);
                let cluster = headers.text("sluicegate-cluster");
                let ours = headers.get("sluicegate-cluster").is_none() || words.contains(&cluster);
                if honest && !ours {
                    return Err(format!("a client's word has passed: {headers:?}"));
                }
            }
            Outcome::Unavailable(_) if honest => return Err("no plugin".to_owned()),
            _ => {}
        }
        Ok(())
    }
}

#[test]
fn two_thousand_random_requests_harm_nobody() {
    let config = Config { cases: 2_000, source_file: Some(file!()), ..Config::default() };
    let fixture = RefCell::new(Fixture::start());
    let outcome = TestRunner::new(config).run(&case(), |case| {
        let played = fixture.borrow_mut().play(&case);
        played.map_err(|error| {
            // The next, smaller case needs a filter that lives.
            fixture.replace(Fixture::start());
            TestCaseError::fail(error)
        })
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    let Fixture { worker, route, called } = fixture.into_inner();
    assert!(called > 500, "{called} calls");
    assert_eq!(worker.open_streams(), 0);
    Gateway::Apisix(worker, route).works();
}
