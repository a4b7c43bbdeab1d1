//! Answers of a server, cut and changed.

use serde_json::{Value, json};

use super::*;

const SUBJECT: &str = "$JS.API.x";

fn info() -> Value {
    json!({
        "type": "io.nats.jetstream.api.v1.stream_info_response",
        "config": {"name": "S", "subjects": ["S.>"], "retention": "limits", "allow_direct": true, "allow_msg_ttl": true, "new": {"a": [1]}},
        "created": "2026-11-22T10:11:12.345678901Z",
        "state": {"messages": 4, "bytes": 200, "first_seq": 3, "last_seq": 9, "num_deleted": 3},
    })
}

fn parsed(value: &Value) -> Result<StreamInfo, ReadError> {
    StreamInfo::parse(SUBJECT, value.to_string().as_bytes())
}

#[test]
fn stream_info_is_read() {
    let expected = StreamInfo {
        created: 1_795_342_272_345_678_901,
        first: 3,
        end: 10,
        average: 50,
        is_direct: true,
        is_limited: true,
        has_lifetimes: true,
        intake: Arc::new(Intake {
            subjects: vec!["S.>".to_owned()],
            last_kept: Some(Duration::MAX),
            ..Intake::default()
        }),
    };
    assert_eq!(parsed(&info()), Ok(expected));
    let (age, window) = (json!(3_000_000_000_u64), json!(1_000_000_000));
    for (config, kept) in [
        (json!({"max_age": age}), Some(3)),
        (json!({"max_age": age, "max_bytes": 9, "discard": "old"}), Some(1)),
        (json!({"max_age": age, "max_msgs": 9, "discard": "new"}), Some(3)),
        (json!({"max_age": age, "max_msgs": -1, "max_bytes": -1, "max_msgs_per_subject": 1}), Some(3)),
        (json!({"retention": "workqueue"}), None),
        (json!({"subject_transform": {"src": ">", "dest": "x.>"}}), None),
        (json!({"republish": {"src": ">", "dest": "x.>"}}), None),
    ] {
        let mut info = info();
        info["config"]["duplicate_window"] = window.clone();
        info["config"].as_object_mut().unwrap().extend(config.as_object().unwrap().clone());
        let intake = parsed(&info).unwrap().intake;
        assert_eq!(intake.last_kept, kept.map(Duration::from_secs), "{config}");
    }
}

#[test]
fn what_a_stream_takes_is_read() {
    let mut info = info();
    info["config"] = json!({
        "name": "S", "subjects": ["a", "b.*"], "max_msg_size": 100, "duplicate_window": 120_000_000_000_u64,
        "no_ack": true, "sealed": true,
    });
    let intake = Intake {
        subjects: vec!["a".to_owned(), "b.*".to_owned()],
        max_size: Some(100),
        duplicate_window: Duration::from_secs(120),
        last_kept: None,
        is_silent: true,
        is_sealed: true,
    };
    assert_eq!(*parsed(&info).unwrap().intake, intake);
    // A mirror has no subjects, and a stream without a limit says so.
    info["config"] = json!({"name": "S", "mirror": {"name": "T"}, "max_msg_size": -1});
    assert_eq!(*parsed(&info).unwrap().intake, Intake::default());
}

#[test]
fn empty_streams_begin_with_their_next_sequence() {
    for (first_seq, last_seq, first, end) in [(0, 0, 1, 1), (1, 0, 1, 1), (10, 9, 10, 10)] {
        let mut info = info();
        info["state"] = json!({"messages": 0, "bytes": 0, "first_seq": first_seq, "last_seq": last_seq});
        let info = parsed(&info).unwrap();
        assert_eq!((info.first, info.end, info.average), (first, end, 1), "{first_seq} to {last_seq}");
    }
}

#[test]
fn stream_info_that_is_cut_is_malformed() {
    let text = info().to_string();
    for cut in 0..text.len() {
        let parsed = StreamInfo::parse(SUBJECT, &text.as_bytes()[..cut]);
        assert!(matches!(parsed, Err(ReadError::Malformed { .. })), "cut at byte {cut}: {parsed:?}");
    }
}

#[test]
fn values_out_of_range_are_malformed() {
    for (pointer, value) in [
        ("/created", json!("0001-01-01T00:00:00Z")),
        ("/created", json!("now")),
        ("/state/last_seq", json!(i64::MAX)),
        ("/state/last_seq", json!(u64::MAX)),
        ("/state/last_seq", json!(-5)),
        ("/state", json!(null)),
    ] {
        let mut info = info();
        *info.pointer_mut(pointer).unwrap() = value.clone();
        let parsed = parsed(&info);
        assert!(matches!(parsed, Err(ReadError::Malformed { .. })), "{pointer} {value}: {parsed:?}");
    }
}

#[test]
fn error_of_the_api_is_told() {
    let error =
        json!({"type": "x", "error": {"code": 404, "err_code": 10059, "description": "stream not found"}});
    let parsed = parsed(&error).unwrap_err();
    assert!(parsed.is_missing_stream(), "{parsed}");
    assert_eq!(check(SUBJECT, error.to_string().as_bytes()), Err(parsed));
    assert_eq!(check(SUBJECT, b"{\"type\": \"x\"}"), Ok(()));
    assert!(matches!(check(SUBJECT, b""), Err(ReadError::Malformed { .. })));
}

#[test]
fn message_is_decoded() {
    let stored = json!({"message": {
        "subject": "S.eu", "seq": 7, "time": "2026-11-22T10:11:12.345678901Z",
        "hdrs": STANDARD.encode(b"NATS/1.0\r\na: 1\r\n\r\n"), "data": STANDARD.encode(b"data"),
    }});
    let found = message(SUBJECT, stored.to_string().as_bytes()).unwrap();
    assert_eq!((found.offset, found.timestamp), (7, 1_795_342_272_345));
    assert_eq!((found.key.as_deref(), found.value.as_deref()), (Some(&b"S.eu"[..]), Some(&b"data"[..])));
    assert_eq!(found.headers.len(), 1);
    let text = stored.to_string();
    for cut in 0..text.len() {
        assert!(message(SUBJECT, &text.as_bytes()[..cut]).is_err(), "cut at byte {cut}");
    }
}

#[test]
fn malformed_message_is_an_error() {
    let message_with = |name: &str, value: Value| {
        let mut stored = json!({"subject": "S.a", "seq": 1, "time": "1970-01-01T00:00:00Z"});
        stored[name] = value;
        message(SUBJECT, json!({ "message": stored }).to_string().as_bytes())
    };
    // Without headers and data, it is empty.
    let found = message_with("seq", json!(1)).unwrap();
    assert_eq!((found.value.as_deref(), found.headers.len()), (Some(&b""[..]), 0));
    for (name, value) in [
        ("seq", json!(0)),
        ("seq", json!(u64::MAX)),
        ("time", json!("")),
        ("hdrs", json!("%")),
        ("data", json!("a")),
        ("subject", json!(1)),
    ] {
        assert!(message_with(name, value.clone()).is_err(), "{name}: {value}");
    }
    let none = json!({"error": {"code": 404, "err_code": 10037, "description": "no message found"}});
    assert!(message(SUBJECT, none.to_string().as_bytes()).unwrap_err().is_missing_message());
}

#[test]
fn page_without_streams_is_empty() {
    for (page, names, total) in [
        (r#"{"total":2,"streams":["b","a"]}"#, vec!["b".to_owned(), "a".to_owned()], 2),
        (r#"{"total":0,"streams":null}"#, vec![], 0),
        (r#"{"total":0}"#, vec![], 0),
    ] {
        assert_eq!(stream_names(SUBJECT, page.as_bytes()), Ok((names, total)), "{page}");
    }
}
