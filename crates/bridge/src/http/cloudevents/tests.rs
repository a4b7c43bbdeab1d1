//! Events of requests, and events of records.

use proptest::prelude::*;

use super::super::tests::{check_problem, headers};
use super::*;

type Lines<'a> = &'a [(&'a str, &'a str)];

const ID: (&str, &str) = ("ce-id", "1");
const SOURCE: (&str, &str) = ("ce-source", "/s");
const TYPE: (&str, &str) = ("ce-type", "t");
const V1: (&str, &str) = ("ce-specversion", "1.0");
/// The same in JSON.
const REQUIRED_MEMBERS: &str = r#""id":"1","source":"/s","specversion":"1.0","type":"t""#;

fn request(lines: Lines<'_>, body: &str, system: System) -> Result<Option<Events>, Problem> {
    of_request(Headers(&headers(lines)), &Bytes::copy_from_slice(body.as_bytes()), system)
}

fn one(lines: Lines<'_>, body: &str, system: System) -> Record {
    match request(lines, body, system) {
        Ok(Some(Events::One(record))) => record,
        other => panic!("{other:?}"),
    }
}

/// The headers of a record as lines.
fn lines(record: &Record) -> Vec<String> {
    let text = |value: &Bytes| String::from_utf8(value.to_vec()).unwrap();
    let line = |header: &Header| format!("{}={}", header.key, text(header.value.as_ref().unwrap()));
    record.headers.iter().map(line).collect()
}

#[test]
fn binary_mode_has_attributes_in_headers() {
    let given: Lines<'_> = &[
        ID,
        SOURCE,
        TYPE,
        V1,
        ("ce-subject", "Euro%20%e2%82%AC%20%F0%9F%98%80%25"),
        ("ce-quoted", r#""a \"b\" \\ %41""#),
        ("ce-partitionkey", "k%201"),
        ("content-type", "application/json; charset=utf-8"),
        ("accept", "*/*"),
    ];
    let kafka = one(given, " {\"a\" : 1} ", System::Kafka);
    assert_eq!(
        lines(&kafka),
        [
            "content-type=application/json; charset=utf-8",
            "ce_id=1",
            "ce_partitionkey=k 1",
            "ce_quoted=a \"b\" \\ A",
            "ce_source=/s",
            "ce_specversion=1.0",
            "ce_subject=Euro € 😀%",
            "ce_type=t"
        ]
    );
    assert_eq!((kafka.key.unwrap(), kafka.value.unwrap()), ("k 1".into(), " {\"a\" : 1} ".into()));
    let nats = one(given, "", System::Nats);
    assert_eq!(
        lines(&nats),
        [
            "ce-datacontenttype=application/json;%20charset=utf-8",
            "ce-id=1",
            "ce-partitionkey=k%201",
            "ce-quoted=a%20%22b%22%20\\%20A",
            "ce-source=/s",
            "ce-specversion=1.0",
            "ce-subject=Euro%20%E2%82%AC%20%F0%9F%98%80%25",
            "ce-type=t"
        ]
    );
    assert_eq!(nats.value, None, "an event without data is a record without a value");
}

#[test]
fn structured_mode_is_kept() {
    let event =
        format!("{{{REQUIRED_MEMBERS}, \"partitionkey\": \"k\", \"n\": 1, \"off\": null, \"data\": [1.50]}}");
    let content_type = ("content-type", "Application/CloudEvents+JSON; charset=utf-8");
    // Headers of binary mode beside it say the same.
    let record = one(&[content_type, ("ce-id", "2")], &format!("\u{feff} {event}\n"), System::Kafka);
    assert_eq!((record.key.as_deref(), record.value.as_deref()), (Some(&b"k"[..]), Some(event.as_bytes())));
    assert_eq!(lines(&record), ["content-type=application/cloudevents+json; charset=UTF-8"]);
    let record = one(&[content_type], &event, System::Nats);
    assert_eq!(lines(&record), ["Content-Type=application/cloudevents+json; charset=UTF-8"]);
}

#[test]
fn batch_is_one_record_for_each_event() {
    let batch = |body: &str| request(&[("content-type", CLOUDEVENTS)], body, System::Kafka);
    let Ok(Some(Events::Batch(records))) =
        batch(&format!("[{{{REQUIRED_MEMBERS}}}, {{{REQUIRED_MEMBERS},\"partitionkey\":\"k\"}}]"))
    else {
        panic!("no batch");
    };
    let keys: Vec<_> = records.iter().map(|record| record.key.as_deref()).collect();
    assert_eq!(keys, [None, Some(&b"k"[..])]);
    assert_eq!(records[0].value.as_deref(), Some(format!("{{{REQUIRED_MEMBERS}}}").as_bytes()));
    assert_eq!(batch("[]"), Ok(Some(Events::Batch(Vec::new()))));
    let one_is_invalid = format!("[{{{REQUIRED_MEMBERS}}},{{}}]");
    check_problem(batch(&one_is_invalid).unwrap_err(), 400, "event 1: no specversion");
    check_problem(batch("{}").unwrap_err(), 422, "the body: expected an array");
    let many = format!("[{}]", vec!["{}"; MAX_RECORDS + 1].join(","));
    check_problem(batch(&many).unwrap_err(), 413, "1000");
}

#[test]
fn other_requests_have_no_event() {
    for lines in [&[][..], &[("content-type", "application/json")], &[("ce", "1"), ("xce-id", "1")]] {
        assert_eq!(request(lines, "x", System::Kafka), Ok(None));
    }
}

#[test]
fn invalid_events_are_refused() {
    for (lines, want) in [
        (&[ID, SOURCE, TYPE][..], "headers ce-…: no specversion"),
        (&[V1, SOURCE, TYPE], "no id"),
        (&[V1, ID, TYPE], "no source"),
        (&[V1, ID, SOURCE], "no type"),
        (&[V1, SOURCE, TYPE, ("ce-id", "")], "no id"),
        (&[ID, SOURCE, TYPE, ("ce-specversion", "0.3")], "specversion: expected 1.0"),
        (&[V1, ID, SOURCE, TYPE, ("ce-datacontenttype", "a/b")], "header ce-datacontenttype: expected"),
        (&[V1, ID, SOURCE, TYPE, ("ce-a_b", "")], "header ce-a_b: expected the name"),
        (&[V1, ID, SOURCE, TYPE, ("ce-data", "")], "header ce-data: expected the name"),
        (&[V1, ID, SOURCE, TYPE, ("ce-a", "%C0%A0")], "header ce-a: expected UTF-8"),
        (&[V1, ID, SOURCE, TYPE, ("ce-a", "%0A")], "header ce-a: expected UTF-8"),
        (&[V1, ID, SOURCE, TYPE, ("ce-time", "noon")], "time: expected a time"),
        (&[V1, ID, SOURCE, TYPE, ("ce-subject", "")], "subject: expected a value"),
        (&[V1, ID, TYPE, ("ce-source", "a%20b")], "source: expected a URI reference"),
        (&[V1, ID, SOURCE, TYPE, ID], "header ce-id is repeated"),
    ] {
        check_problem(request(lines, "", System::Kafka).unwrap_err(), 400, want);
    }
    for (members, want) in [
        ("\"id\":1", "id: expected a string"),
        ("\"partitionkey\":true", "partitionkey: expected a string"),
        ("\"id\":null", "no id"),
        ("\"specversion\":\"1.1\"", "specversion: expected 1.0"),
        ("\"a_b\":1", "a_b: expected a name of lower-case letters and digits"),
        ("\"a\":{}", "a: expected a string, an integer or a boolean"),
        ("\"a\":1.5", "a: expected an integer"),
        ("\"a\":\"\\ud800\"", "a: expected a string in Unicode"),
        ("\"data\":1,\"data_base64\":\"\"", "data or data_base64, not both"),
    ] {
        let event = format!("{{{REQUIRED_MEMBERS},{members}}}");
        let refused = request(&[("content-type", CLOUDEVENT)], &event, System::Kafka).unwrap_err();
        check_problem(refused, 400, want);
    }
    for body in ["[]", "1", "{"] {
        let refused = request(&[("content-type", CLOUDEVENT)], body, System::Kafka).unwrap_err();
        check_problem(refused, 400, "");
    }
    for other in
        ["application/cloudevents+avro", "application/cloudevents", "application/cloudevents-batch+x"]
    {
        let refused = request(&[("content-type", other), ID], "", System::Kafka).unwrap_err();
        check_problem(refused, 415, CLOUDEVENTS);
    }
}

/// The event of a record with these headers besides those that are required.
#[track_caller]
fn check(system: System, more: Lines<'_>, value: Option<&[u8]>, want: Option<&str>) {
    let required = [ID, SOURCE, TYPE, V1].map(|(name, value)| match system {
        System::Nats => (name.to_owned(), value),
        _ => (name.replace("ce-", "ce_"), value),
    });
    let required = required.iter().map(|(name, value)| (name.as_str(), *value));
    let all: Vec<_> = required.chain(more.iter().copied()).collect();
    check_all(system, &all, value, want.map(|want| format!("{{{want}}}")).as_deref());
}

#[track_caller]
fn check_all(system: System, lines: Lines<'_>, value: Option<&[u8]>, want: Option<&str>) {
    let header = |(key, value): &(&str, &str)| sluicegate_protocol::Header {
        key: (*key).to_owned(),
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
    };
    let value = value.map(Bytes::copy_from_slice);
    let message =
        KafkaMessage { value, headers: lines.iter().map(header).collect(), ..KafkaMessage::default() };
    let mut text = b"[".to_vec();
    let is_put = put(&mut text, &message, system);
    let text = String::from_utf8(text).unwrap();
    assert_eq!((is_put, &text[1..]), (want.is_some(), want.unwrap_or_default()), "{lines:?}");
}

#[test]
fn record_in_binary_mode_is_an_event() {
    let with = |more: &str| REQUIRED_MEMBERS.replace("\"id\"", &format!("{more}\"id\""));
    let typed = |data_type: &str, data: &str| {
        let data_type = format!("\"datacontenttype\":\"{data_type}\",");
        format!("{}{data}", with(&data_type))
    };
    for (data_type, value, want) in [
        ("application/json", &b"{ \"a\": 1.0 }"[..], r#","data":{ "a": 1.0 }"#),
        ("application/json", b"\"x\"", r#","data":"x""#),
        ("text/json; charset=utf-8", b"null", r#","data":null"#),
        ("Application/vnd.a+JSON", b"[]", r#","data":[]"#),
        ("application/json", b"{", r#","data_base64":"ew==""#),
        ("application/json", b"", ""),
        ("text/plain", b"1", r#","data":"1""#),
        ("text/plain;charset=UTF-8", "ä".as_bytes(), r#","data":"ä""#),
        ("text/plain; charset=latin1", b"a", r#","data_base64":"YQ==""#),
        ("text/plain", b"\xFF", r#","data_base64":"/w==""#),
        ("application/atom+xml", b"<a/>", r#","data":"<a/>""#),
        ("application/octet-stream", b"a", r#","data_base64":"YQ==""#),
    ] {
        let want = typed(data_type, want);
        check(System::Kafka, &[("content-type", data_type)], Some(value), Some(&want));
        check(System::Nats, &[("ce-datacontenttype", data_type)], Some(value), Some(&want));
        check(System::Nats, &[("Content-Type", data_type)], Some(value), Some(&want));
    }
    check(System::Kafka, &[], None, Some(REQUIRED_MEMBERS));
    // Without a type, the data is bytes.
    check(System::Kafka, &[], Some(b"{}"), Some(&format!("{REQUIRED_MEMBERS},\"data_base64\":\"e30=\"")));
    check(System::Kafka, &[("other", "x"), ("ce_A-b", "x"), ("ce_data", "x")], None, Some(REQUIRED_MEMBERS));
    check(System::Kafka, &[("ce_a", "50%25 ä")], None, Some(&with("\"a\":\"50%25 ä\",")));
    check(System::Nats, &[("Ce-A", "50%25%20%C3%A4")], None, Some(&with("\"a\":\"50% ä\",")));
}

#[test]
fn record_in_structured_mode_is_an_event_as_it_is() {
    let event = format!("{{ {REQUIRED_MEMBERS} , \"data\": 1.0, \"a\": 1}}");
    for content_type in ["application/cloudevents+json", "APPLICATION/cloudevents+json; charset=UTF-8"] {
        check_all(System::Kafka, &[("content-type", content_type)], Some(event.as_bytes()), Some(&event));
    }
    check_all(System::Nats, &[("Content-Type", MEDIA_TYPE)], Some(event.as_bytes()), Some(&event));
}

/// One value that a client refuses would lose it the whole batch.
#[test]
fn records_that_are_no_valid_events_are_left_out() {
    let structured = [("content-type", CLOUDEVENT)];
    let half = format!("{{{REQUIRED_MEMBERS},\"data\":\"\\ud800\"}}");
    for value in [None, Some(&b"{}"[..]), Some(b"x"), Some(b""), Some(b"[]"), Some(half.as_bytes())] {
        check_all(System::Kafka, &structured, value, None);
    }
    check_all(System::Kafka, &[], Some(b"{}"), None);
    check_all(System::Kafka, &[("ce_id", "1")], Some(b"{}"), None);
    check_all(System::Kafka, &[("ce-id", "1"), ("ce-source", "/"), ("ce-type", "t"), V1], None, None);
    let avro = [("content-type", "application/cloudevents+avro")];
    check(System::Kafka, &avro, Some(b""), None);
    for twice_or_invalid in [("ce_id", "2"), ("ce_time", "1"), ("ce_dataschema", "a b"), ("ce_subject", "")] {
        check(System::Kafka, &[twice_or_invalid], None, None);
    }
    check(System::Nats, &[("ce-a", "%FF")], None, None);
}

proptest! {
    #[test]
    fn attributes_come_back_from_headers(value in "\\PC{0,20}") {
        prop_assert_eq!(decoded(&encoded(&value)), Some(value.clone()));
        let again = encoded(&value);
        prop_assert!(again.bytes().all(|byte| byte.is_ascii_graphic()), "{}", again);
    }
}
