//! Messages in each form, and what is malformed.

use async_nats::header::HeaderName;
use proptest::{collection::vec, prelude::*};

use super::*;

fn message(status: Option<u16>, headers: &[(&str, &str)]) -> Message {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap());
    }
    Message {
        subject: "_INBOX.x.1".into(),
        reply: None,
        payload: "data".into(),
        headers: Some(map),
        status: status.map(|status| StatusCode::from_u16(status).unwrap()),
        description: None,
        length: 0,
    }
}

const ADDED: [(&str, &str); 6] = [
    ("Nats-Stream", "S"),
    ("Nats-Subject", "S.eu"),
    ("Nats-Sequence", "7"),
    ("Nats-Time-Stamp", "2026-11-22T10:11:12.345678901Z"),
    ("Nats-Num-Pending", "3"),
    ("Nats-Last-Sequence", "5"),
];

fn stored(headers: Vec<Header>) -> KafkaMessage {
    KafkaMessage {
        offset: 7,
        timestamp: 1_795_342_272_345,
        key: Some("S.eu".into()),
        value: Some("data".into()),
        headers,
        ..KafkaMessage::default()
    }
}

#[test]
fn direct_get_gives_the_message_without_what_the_server_adds() {
    let own = [("b", "2"), ("a", "1"), ("b", "3"), ("Nats-Msg-Id", "id")];
    let found = direct(message(None, &[&own[..], &ADDED].concat()));
    let headers = vec![header("Nats-Msg-Id", "id"), header("a", "1"), header("b", "2"), header("b", "3")];
    let expected = Direct::Message {
        message: stored(headers),
        stream: "S".to_owned(),
        previous: Some(5),
        pending: Some(3),
    };
    assert_eq!(found, Some(expected));
}

#[test]
fn publisher_cannot_forge_what_the_server_adds() {
    let forged = [("Nats-Sequence", "999"), ("Nats-Stream", "other"), ("Nats-Num-Pending", "x")];
    let found = direct(message(Some(204), &[&forged[..], &ADDED].concat()));
    let Some(Direct::Message { message, stream, .. }) = found else { panic!("{found:?}") };
    let own =
        vec![header("Nats-Num-Pending", "x"), header("Nats-Sequence", "999"), header("Nats-Stream", "other")];
    assert_eq!((message, &*stream), (stored(own), "S"));
}

#[test]
fn message_of_an_old_server_is_the_last() {
    let found = direct(message(None, &ADDED[..4]));
    assert!(matches!(found, Some(Direct::Message { pending: None, previous: None, .. })), "{found:?}");
}

#[test]
fn status_ends_a_direct_get() {
    let ends =
        |status| direct(message(Some(status), &[("Nats-Num-Pending", "0"), ("Nats-Last-Sequence", "7")]));
    assert_eq!([204, 404].map(ends), [Some(Direct::End), Some(Direct::End)]);
    assert_eq!([408, 412, 500].map(ends), [const { Some(Direct::Refused) }; 3]);
}

#[test]
fn malformed_direct_get_is_no_message() {
    for (left_out, _) in &ADDED[..4] {
        let headers: Vec<_> = ADDED.into_iter().filter(|(name, _)| name != left_out).collect();
        assert_eq!(direct(message(None, &headers)), None, "without {left_out}");
    }
    for (name, value) in [
        ("Nats-Sequence", "0"),
        ("Nats-Sequence", "-1"),
        ("Nats-Sequence", "9223372036854775808"),
        ("Nats-Sequence", ""),
        ("Nats-Time-Stamp", "yesterday"),
    ] {
        assert_eq!(direct(message(None, &[&ADDED[..], &[(name, value)]].concat())), None, "{name}: {value}");
    }
}

#[test]
fn delivered_message_says_where_it_is() {
    for reply in [
        "$JS.ACK.S.consumer.1.7.2.1795342272345678901.0",
        "$JS.ACK.hub.ACCHASH.S.consumer.1.7.2.1795342272345678901.0",
        "$JS.ACK.hub.ACCHASH.S.consumer.1.7.2.1795342272345678901.0.random",
    ] {
        let headers = Some(message(None, &[("a", "1")]).headers.unwrap());
        let delivered =
            Message { subject: "S.eu".into(), reply: Some(reply.into()), headers, ..message(None, &[]) };
        let expected = Delivery::Message { message: stored(vec![header("a", "1")]), number: 2, pending: 0 };
        assert_eq!(delivery(delivered), Some(expected), "{reply}");
    }
}

#[test]
fn acknowledgement_is_read_only_whole() {
    let whole = "$JS.ACK.S.consumer.1.7.2.1795342272345678901.0";
    for cut in 0..whole.len() - 1 {
        assert_eq!(Acknowledgement::parse(&whole[..cut]), None, "cut at byte {cut}");
    }
    for other in [
        "$JS.ACK.S.consumer.1.0.2.3.0",
        "$JS.ACK.S.consumer.1.7.-2.3.0",
        "$JS.ACK.S.consumer.1.99999999999999999999.2.3.0",
        "$JS.ACK.hub.S.consumer.1.7.2.3.0",
        "$JS.FC.S.consumer.1.7.2.3.0",
    ] {
        assert_eq!(Acknowledgement::parse(other), None, "{other}");
    }
}

#[test]
fn statuses_of_a_consumer_are_told_apart() {
    for (status, description, expected) in [
        (100, "Idle Heartbeat", Delivery::Heartbeat),
        (408, "Request Timeout", Delivery::RequestOver),
        (404, "No Messages", Delivery::RequestOver),
        (409, "Batch Completed", Delivery::Complete),
        (409, "Message Size Exceeds MaxBytes", Delivery::Full { pending: None }),
        (409, "Consumer Deleted", Delivery::Ended),
        (409, "Leadership Change", Delivery::Ended),
        (503, "", Delivery::Ended),
    ] {
        let told = Message { description: Some(description.to_owned()), ..message(Some(status), &[]) };
        assert_eq!(delivery(told), Some(expected), "{status} {description}");
    }
    assert_eq!(delivery(message(None, &[])), None);
    let full = message(Some(409), &[("Nats-Pending-Messages", "7")]);
    let full = Message { description: Some("Message Size Exceeds MaxBytes".to_owned()), ..full };
    assert_eq!(delivery(full), Some(Delivery::Full { pending: Some(7) }));
}

#[test]
fn times_are_cut_to_milliseconds() {
    for (time, expected) in [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.0019Z", 1),
        ("1969-12-31T23:59:59.9999Z", -1),
        ("2026-11-22T10:11:12.345678901Z", 1_795_342_272_345),
    ] {
        assert_eq!(timestamp(time), Some(expected), "{time}");
    }
}

#[test]
fn stored_headers_are_read_as_async_nats_reads_them() {
    assert_eq!(parse_headers(b""), []);
    assert_eq!(parse_headers(b"NATS/1.0\r\n\r\n"), []);
    let sorted = [header("a", "1"), header("b", "2"), header("b", "3")];
    assert_eq!(parse_headers(b"NATS/1.0\r\nb: 2\r\na:1\r\nb:  3 \r\n\r\n"), sorted);
    assert_eq!(parse_headers(b"NATS/1.0\r\na: 1\r\n 2\r\n\t3\r\n\r\n"), [header("a", "1 2\t3")]);
}

#[test]
fn malformed_headers_are_read_as_far_as_possible() {
    assert_eq!(parse_headers(b"NATS/1.0\r\na: caf\xe9\r\n\r\n"), [header("a", "caf\u{fffd}")]);
    assert_eq!(parse_headers(b"NATS/1.0\r\nnothing\r\na b: 1\r\n\r\n"), [header("a b", "1")]);
    let whole = b"NATS/1.0\r\na: 1\r\nb: 2\r\n\r\n";
    for cut in 0..whole.len() {
        assert!(parse_headers(&whole[..cut]).len() <= 2, "cut at byte {cut}");
    }
}

proptest! {
    #[test]
    fn random_bytes_are_headers_or_none(bytes in vec(any::<u8>(), 0..60)) {
        parse_headers(&bytes);
        Acknowledgement::parse(&String::from_utf8_lossy(&bytes));
        timestamp(&String::from_utf8_lossy(&bytes));
    }
}
