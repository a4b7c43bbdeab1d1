//! What travels to the bridge, and what comes back.

use proptest::prelude::*;
use sluicegate_protocol::{ErrorResp, HttpResp};

use super::*;

const REST: Resource = Resource::Rest { write: true };

fn produce(header_prefix: &str, record_header_prefix: &str) -> Resource {
    Resource::Produce(HttpProduce {
        topic: "orders".into(),
        header_prefix: header_prefix.into(),
        record_header_prefix: record_header_prefix.into(),
        ..HttpProduce::default()
    })
}

#[track_caller]
fn travel(resource: &Resource, want: &[&str]) {
    const ALL: [&str; 15] = [
        "content-type",
        "content-encoding",
        "accept",
        "prefer",
        "topic",
        "partition",
        "key",
        "x-topic",
        "x-partition",
        "x-key",
        "x-keys",
        "r-a",
        "r-",
        "cookie",
        "authorization",
    ];
    let headers = ALL.map(|name| (name.as_bytes().to_vec(), b"\xff".to_vec()));
    let command = resource.command(b"POST", b"", &headers);
    let names: Vec<_> = command.headers.iter().map(|header| header.name.as_str()).collect();
    assert_eq!(names, want);
    assert!(command.headers.iter().all(|header| header.value[..] == *b"\xff"));
}

#[test]
fn only_headers_with_a_meaning_travel() {
    let common = ["content-type", "content-encoding", "accept", "prefer"];
    travel(&REST, &common);
    travel(&produce("", ""), &[&common[..], &["topic", "partition", "key"]].concat());
    travel(&produce("x-", ""), &[&common[..], &["x-topic", "x-partition", "x-key"]].concat());
    travel(&produce("x-", "r-"), &[&common[..], &["x-topic", "x-partition", "x-key", "r-a", "r-"]].concat());
}

#[test]
fn repeated_headers_travel_repeated_and_in_order() {
    let headers = [("r-a", "1"), ("r-b", "2"), ("r-a", "3")];
    let headers = headers.map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
    let command = produce("", "r-").command(b"POST", b"", &headers);
    let got: Vec<_> = command.headers.iter().map(|header| (&header.name[..], &header.value[..])).collect();
    assert_eq!(got, [("r-a", &b"1"[..]), ("r-b", b"2"), ("r-a", b"3")]);
}

#[test]
fn a_rest_resource_is_what_lies_behind_the_routes_path() {
    let path = |rest: &[u8]| match REST.command(b"GET", rest, &[]).resource {
        Some(cmd_http::Resource::Rest(HttpRest { path, write: true })) => path,
        other => panic!("{other:?}"),
    };
    assert_eq!(path(b"/topics/a%2Fb?x=y&z"), "/topics/a%2Fb?x=y&z");
    assert_eq!(path(b"/topics?x#y?z"), "/topics?x");
    assert_eq!(path(b""), "");
}

fn answer(status: u32, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let headers = headers.iter().map(|(name, value)| HttpHeader {
        name: (*name).into(),
        value: Bytes::copy_from_slice(value.as_bytes()),
    });
    let answer =
        HttpResp { status, headers: headers.collect(), body: Bytes::copy_from_slice(body.as_bytes()) };
    PubSubResp { sequence: 0, resp: Some(Resp::HttpResp(answer)) }.encode_to_vec()
}

#[test]
fn an_answer_passes_but_for_what_the_proxy_says_itself() {
    let headers = [
        ("content-type", "application/json"),
        ("retry-after", "3"),
        ("set-cookie", "a"),
        ("set-cookie", "b"),
        (":status", "500"),
        ("content-length", "9"),
        ("Connection", "close"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("x y", "z"),
        ("", "z"),
        ("x-a", "b\r\nc: d"),
        ("x-nul", "\0"),
    ];
    let answer = Answer::decode(answer(429, &headers, "{}")).unwrap();
    assert_eq!((answer.status, &answer.body[..]), (429, &b"{}"[..]));
    let got: Vec<_> = answer.headers.iter().map(|(name, value)| (&name[..], &value[..])).collect();
    let want = headers[..4].iter().map(|(name, value)| (*name, value.as_bytes()));
    assert_eq!(got, want.collect::<Vec<_>>());
}

#[test]
fn an_answer_without_content_has_none() {
    for status in [204, 304] {
        assert!(Answer::decode(answer(status, &[], "x")).unwrap().body.is_empty());
    }
}

#[test]
fn what_is_no_answer_to_a_client_is_none() {
    for status in [0, 100, 101, 199, 600, 65_736, u32::MAX] {
        assert_eq!(Answer::decode(answer(status, &[], "x")), None, "{status}");
    }
    let error = PubSubResp { sequence: 0, resp: Some(Resp::ErrorResp(ErrorResp::default())) };
    for message in [error.encode_to_vec(), Vec::new(), vec![0xFF; 9], b"hello".to_vec()] {
        assert_eq!(Answer::decode(message), None);
    }
}

#[track_caller]
fn fails(codes: &[u32], status: u16, retriable: bool, refused: bool) {
    for code in codes {
        for safe in [true, false] {
            let problem = Failure::of(*code, b"whatever").problem(safe);
            assert_eq!((problem.status.number(), problem.retriable), (status, retriable), "{code}");
            unknown(&problem, !safe && !refused);
        }
    }
}

#[track_caller]
fn unknown(problem: &Problem, want: bool) {
    assert_eq!(problem.unknown_outcome, want, "{problem:?}");
    assert_eq!(problem.detail.ends_with("; it is not known whether anything was written"), want);
}

#[test]
fn a_failed_call_has_a_status_and_says_what_is_not_known() {
    fails(&[8, 10], 503, true, true);
    fails(&[4], 504, false, false);
    fails(&[11], 413, false, true);
    fails(&[3, 5, 7, 9, 12, 16], 502, false, true);
    fails(&[0, 1, 2, 6, 13, 15, 17, u32::MAX], 502, false, false);
    let unreadable = Failure::Unreadable.problem(false);
    assert_eq!((unreadable.status.number(), unreadable.unknown_outcome), (502, true));
}

#[test]
fn a_host_that_does_not_say_why_there_is_no_answer_leaves_it_unknown() {
    let problem = Failure::Unanswered.problem(true);
    assert_eq!((problem.status.number(), problem.retriable), (503, true));
    unknown(&problem, false);
    let problem = Failure::Unanswered.problem(false);
    assert_eq!((problem.status.number(), problem.retriable), (504, false));
    unknown(&problem, true);
}

#[track_caller]
fn is_away(message: &str, safe: bool, status: u16, is_unknown: bool) {
    let problem = Failure::of(14, message.as_bytes()).problem(safe);
    assert_eq!((problem.status.number(), problem.retriable), (status, status == 503), "{message}");
    unknown(&problem, is_unknown);
}

#[test]
fn only_who_was_never_connected_may_surely_write_again() {
    let reset = "upstream connect error or disconnect/reset before headers. reset reason: ";
    let refused =
        "remote connection failure, transport failure reason: delayed connect error: Connection refused";
    for reason in [refused, "local connection failure", "connection timeout"] {
        is_away(&format!("{reset}{reason}"), true, 503, false);
        is_away(&format!("{reset}{reason}"), false, 503, false);
    }
    for message in ["", "connection failure", &format!("{reset}connection termination")] {
        is_away(message, true, 503, false);
        is_away(message, false, 504, true);
    }
    let lost = Failure::of(13, format!("{reset}connection timeout").as_bytes());
    assert_eq!(lost, Failure::Status(13));
}

#[test]
fn a_peer_that_is_not_there_when_the_time_is_over_was_too_slow() {
    assert_eq!(Failure::Status(14).or_timed_out(true), Failure::Status(4));
    assert_eq!(Failure::Status(14).or_timed_out(false), Failure::Status(14));
    assert_eq!(Failure::Status(13).or_timed_out(true), Failure::Status(13));
    assert_eq!(Failure::Unreadable.or_timed_out(true), Failure::Unreadable);
}

proptest! {
    #[test]
    fn any_bytes_are_an_answer_or_none(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Some(answer) = Answer::decode(bytes) {
            prop_assert!((200..=599).contains(&answer.status));
        }
    }
}
