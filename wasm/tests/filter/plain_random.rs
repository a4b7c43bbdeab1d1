//! Random requests, answers and refused host calls: one filter survives them all.

use std::cell::RefCell;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use prost::bytes::Bytes;
use sluicegate_harness::{Headers, HostCall, Status, When};

use crate::faults::CALLS;
use crate::gateway::{Failure, Gateway};
use crate::plain::{ANSWERED, request, settings};

/// A request, what is refused before and after it was sent, and how it ends.
#[derive(Debug, Clone)]
struct Case {
    method: &'static str,
    path: &'static str,
    headers: Vec<(&'static str, Bytes)>,
    refused: [Vec<Refusal>; 2],
    end: End,
}

type Refusal = (HostCall, u32, u32);

#[derive(Debug, Clone)]
enum End {
    Answer { status: u16, marked: bool, value: String },
    Fails(Failure),
    Leaves,
}

const OURS: [&str; 5] = ["/orders", "/orders?x", "/kafka", "/kafka/topics#x", "/public/%2F?a=%"];

fn case() -> impl Strategy<Value = Case> {
    let method = prop::sample::select(vec!["POST", "GET", "HEAD", "OPTIONS", "DELETE", "x"]);
    let path = prop::sample::select([&OURS[..], &["/pubsub", "/open", "/x", ""]].concat());
    let name = prop::sample::select(vec![
        "content-type",
        "te",
        "x-key",
        "origin",
        "content-length",
        "upgrade",
        "connection",
        "sec-websocket-key",
        "sec-websocket-version",
        "sec-websocket-protocol",
        "sluicegate-cluster",
        "sluicegate-http",
    ]);
    let known = vec![
        "https://app.example",
        "100",
        "websocket",
        "Upgrade",
        "13",
        "dGhlIHNhbXBsZSBub25jZQ==",
        "pubsub",
    ];
    // Bytes that no HTTP codec lets through are left out.
    let passes = any::<u8>().prop_filter("a line break or NUL", |byte| !b"\0\r\n".contains(byte));
    let value = prop_oneof![
        3 => prop::sample::select(known).prop_map(|text| Bytes::from(text.as_bytes())),
        1 => vec(passes, 0..40).prop_map(Bytes::from),
    ];
    let refusal = (prop::sample::select(CALLS.to_vec()), 1_u32..9, 1_u32..14);
    let refused = prop_oneof![2 => Just(Vec::new()), 1 => vec(refusal, 1..3)];
    let end = prop_oneof![
        4 => (200_u16..600, any::<bool>(), "[ -~]{0,12}")
            .prop_map(|(status, marked, value)| End::Answer { status, marked, value }),
        3 => prop::sample::select(vec![Failure::Unsent, Failure::Cut, Failure::Late]).prop_map(End::Fails),
        1 => Just(End::Leaves),
    ];
    (method, path, vec((name, value), 0..6), [refused.clone(), refused], end)
        .prop_map(|(method, path, headers, refused, end)| Case { method, path, headers, refused, end })
}

/// Plays one case; whether the bridge had a plain request of it, or what went wrong.
fn play(gateway: &Gateway, case: &Case) -> Result<bool, String> {
    let refuse = |refused: &[Refusal]| {
        refused
            .iter()
            .for_each(|(call, nth, status)| gateway.refuse(*call, When::Nth(*nth), Status(*status)));
    };
    let allow = || CALLS.into_iter().for_each(|call| gateway.allow(call));
    let headers = request(case.method, case.path);
    let headers = case.headers.iter().fold(headers, |headers, (name, value)| match gateway {
        Gateway::Envoy(..) => headers.with(name, value),
        Gateway::Apisix(..) => headers.and(name, value),
    });
    let [before, after] = &case.refused;
    refuse(before);
    let mut sent = gateway.request(headers);
    allow();
    refuse(after);
    let passed = sent.passed();
    if passed.is_some() {
        match &case.end {
            End::Answer { status, marked, value } => {
                let mark = marked.then_some(ANSWERED);
                let headers: Vec<_> = mark.into_iter().chain([("x", value.as_str())]).collect();
                sent.answer(*status, &headers);
            }
            End::Fails(failure) => {
                sent.fails(*failure);
            }
            End::Leaves => {}
        }
    }
    drop(sent);
    allow();
    let trap = match gateway {
        Gateway::Envoy(_, vm) => vm.trap(),
        Gateway::Apisix(worker, _) => worker.trap(),
    };
    if let Some(trap) = trap {
        return Err(format!("{trap}\n{:#?}", gateway.log()));
    }
    let Some(headers) = passed.filter(|_| OURS.contains(&case.path)) else { return Ok(false) };
    is_ours(&headers, before.is_empty()).then_some(true).ok_or(format!("{headers:?}"))
}

/// No word of a client's has passed. One that the host denied can have.
fn is_ours(headers: &Headers, honest: bool) -> bool {
    let cluster = headers.text("sluicegate-cluster");
    !honest || ["payments", "default"].map(Some).contains(&cluster) && settings(headers).resource.is_some()
}

#[track_caller]
fn check(start: impl Fn() -> Gateway) {
    let config = Config { cases: 2_000, source_file: Some(file!()), ..Config::default() };
    let (gateway, plain) = (RefCell::new(start()), RefCell::new(0));
    let outcome = TestRunner::new(config).run(&case(), |case| {
        let played = play(&gateway.borrow(), &case);
        match played {
            Ok(is_plain) => {
                *plain.borrow_mut() += u32::from(is_plain);
                Ok(())
            }
            Err(error) => {
                // The next, smaller case needs a filter that lives.
                gateway.replace(start());
                Err(TestCaseError::fail(error))
            }
        }
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    let gateway = gateway.into_inner();
    gateway.works();
    let open = match &gateway {
        Gateway::Envoy(_, vm) => vm.open_streams(),
        Gateway::Apisix(worker, _) => worker.open_streams(),
    };
    assert_eq!(open, 0);
    // One in four cases must reach the bridge, or the rest says little.
    assert!(plain.take() > 500);
}

#[test]
fn random_plain_requests_harm_nobody_in_envoy() {
    for at in [0, 1] {
        check(|| Gateway::all().into_iter().nth(at).expect("a profile"));
    }
}

#[test]
fn random_plain_requests_harm_nobody_in_apisix() {
    check(Gateway::apisix);
}
