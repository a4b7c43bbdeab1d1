//! Records that can be written, and others.

use super::*;

fn intake() -> Intake {
    Intake { subjects: vec!["S.>".to_owned(), "other".to_owned()], ..Intake::default() }
}

fn record(subject: &str) -> Record {
    Record { topic: "S".into(), key: Some(subject.to_owned().into()), ..Record::default() }
}

fn with(headers: &[(&str, &[u8])]) -> Record {
    let header = |(key, value): &(&str, &[u8])| Header {
        key: (*key).to_owned(),
        value: Some(Bytes::copy_from_slice(value)),
    };
    Record { headers: headers.iter().map(header).collect(), ..record("S.a") }
}

fn message(record: &Record, intake: &Intake) -> Result<Message, CommandError> {
    Message::new(
        record,
        Target { stream: "S", intake, mapped: None, inbox: "_INBOX", max_payload: 1000, own: Own::default() },
    )
}

fn fault(record: &Record) -> Option<Fault> {
    message(record, &intake()).err().map(|error| error.fault)
}

#[test]
fn record_becomes_a_message() {
    let headers: [(&str, &[u8]); 4] =
        [("a", b"1"), ("b", "ü x".as_bytes()), ("a", b""), ("nats-msg-id", b"7")];
    let sent = message(&with(&headers), &intake()).unwrap();
    assert!(sent.has_id && sent.payload.is_empty());
    assert_eq!(sent.subject.as_str(), "S.a");
    let values = |name: &str| sent.headers.get_all(name).map(|value| value.as_str()).collect::<Vec<_>>();
    assert_eq!([values("a"), values("b")], [vec!["1", ""], vec!["ü x"]]);
    assert_eq!((values("Nats-Msg-Id"), sent.headers.len()), (vec!["7"], 3), "and no other");
    let plain = message(&record("other"), &intake()).unwrap();
    assert!(!plain.has_id && plain.headers.is_empty());
}

/// The headers of a message that was read, for one.
#[test]
fn headers_of_servers_are_left_out_unless_the_client_has_a_use_for_them() {
    for name in
        "Nats-Rollup nats-rollup NATS-TTL Nats-Schedule Nats-Stream-Source Nats-Sequence Nats-X sluicegate-producer stream-seq".split(' ')
    {
        assert!(message(&with(&[(name, b"1")]), &intake()).unwrap().headers.is_empty(), "{name}");
    }
    for (value, is_sent) in [("S", true), ("T", false), (" S", false)] {
        let sent = message(&with(&[("nats-expected-stream", value.as_bytes())]), &intake()).unwrap();
        assert_eq!(sent.headers.get("Nats-Expected-Stream").is_some(), is_sent, "{value}");
    }
    for name in ["Nats-Expected-Last-Sequence", "nats-expected-last-msg-id"] {
        assert_eq!(fault(&with(&[(name, b"1")])), Some(Fault::Forbidden), "{name}");
    }
    assert_eq!(message(&with(&[("Natsu", b"1"), ("X-Nats-A", b"1")]), &intake()).unwrap().headers.len(), 2);
}

#[test]
fn headers_that_readers_or_servers_would_misunderstand_are_refused() {
    for (name, value) in [
        ("", &b"1"[..]),
        ("a b", b"1"),
        ("a:", b"1"),
        ("caf\u{e9}", b"1"),
        ("a\n", b"1"),
        ("a", b"1\r\nb: 2"),
        ("a", b"1\n"),
        ("a", b"caf\xe9"),
        ("Nats-Msg-Id", b""),
        ("Nats-Msg-Id", b" \t"),
    ] {
        assert_eq!(fault(&with(&[(name, value)])), Some(Fault::Invalid), "{name:?}");
    }
    assert_eq!(fault(&with(&[("Nats-Msg-Id", b"1"), ("Nats-Msg-Id", b"1")])), Some(Fault::Invalid));
    let null = Record { headers: vec![Header { key: "a".into(), value: None }], ..record("S.a") };
    assert!(message(&null, &intake()).unwrap_err().message.contains("NATS has no null values"));
}

#[test]
fn subject_must_be_one_of_the_streams() {
    for (subject, expected) in [
        ("S.a.b", None),
        ("other", None),
        ("S", Some(Fault::InvalidRecord)),
        ("T.a", Some(Fault::InvalidRecord)),
        ("S.*", Some(Fault::Invalid)),
        ("$JS.API.INFO", Some(Fault::Forbidden)),
    ] {
        assert_eq!(fault(&record(subject)), expected, "{subject}");
    }
    let all = Intake { subjects: vec![">".to_owned()], ..Intake::default() };
    let error = message(&record("$JS.API.STREAM.DELETE.S"), &all).unwrap_err();
    assert_eq!(error.fault, Fault::Forbidden, "whatever the stream takes");
    let mirror = message(&record("S.a"), &Intake::default()).unwrap_err();
    let want = (Fault::Rejected, "the stream has no subjects to write to");
    assert_eq!((mirror.fault, mirror.message.as_str()), want);
}

#[test]
fn largest_message_is_counted_as_servers_do() {
    // NATS/1.0, a: 1, and their line breaks.
    let headers = 12 + 6;
    let limited = Intake { max_size: Some(100), ..intake() };
    for (intake, max, limit) in [(intake(), 1000, "max_payload"), (limited, 100, "max_msg_size")] {
        let record = |len: usize| Record { value: Some(vec![0; len].into()), ..with(&[("a", b"1")]) };
        assert!(message(&record(max - headers), &intake).is_ok());
        let error = message(&record(max - headers + 1), &intake).unwrap_err();
        assert!(error.fault == Fault::TooLarge && error.message.contains(limit), "{}", error.message);
    }
}
