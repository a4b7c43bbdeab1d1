//! JSON bodies: compacted and not otherwise touched, refused where they are none, and the source of keys.

use sluicegate_tests::http::client::{Request, Response};
use sluicegate_tests::in_every_gateway;
use sluicegate_tests::kafka::Kafka;
use sluicegate_tests::stack::Stack;
use sluicegate_tests::way::Way;

use crate::answers::{problem, written};
use crate::console::consume;
use crate::openapi::ask;
use crate::stacks::{ANY, JSONKEYS, shared};

in_every_gateway! {
    only_the_whitespace_between_tokens_goes
    what_is_no_json_is_refused_with_its_place
    a_key_is_what_the_path_finds
}

async fn post(stack: &Stack, topic: &str, body: impl Into<Vec<u8>>) -> Response {
    let request =
        Request::post(ANY, body.into()).with("x-kafka-topic", topic).with("content-type", "application/json");
    ask(stack.gateway(), request).await
}

async fn only_the_whitespace_between_tokens_goes(way: Way) {
    let (kafka, stack) = shared(way).await;
    let topic = &kafka.topic("compact", 1, &[]).await.unwrap();
    let deep = "[".repeat(100) + &"]".repeat(100);
    let cases = [
        ("{}", "{}"),
        (" \t\r\n[ ]\n", "[]"),
        (" null ", "null"),
        ("  \"a  b\"  ", "\"a  b\""),
        (" 7\n", "7"),
        // Numbers as they were sent: their digits, their signs, their zeros, however large.
        (
            "[ 1.00 , -0.0, 1e400,1E+2 ,12345678901234567890123, 0.1000000000000000055511151231257827 ]",
            "[1.00,-0.0,1e400,1E+2,12345678901234567890123,0.1000000000000000055511151231257827]",
        ),
        // Strings as they were sent: escapes and what needs none.
        (
            r#"{ "a b" : " \u00e9 é \/ \" \\ \ud83d\ude00 😀 { } [ ] : , " }"#,
            r#"{"a b":" \u00e9 é \/ \" \\ \ud83d\ude00 😀 { } [ ] : , "}"#,
        ),
        // Members as they were sent: their order, and those that are there twice.
        ("{ \"b\" : 1,\r\n \"a\":2, \"b\" :3 }", r#"{"b":1,"a":2,"b":3}"#),
        ("{\"true\" : true, \"false\":false\t,\"null\": null}", r#"{"true":true,"false":false,"null":null}"#),
        (&deep, &deep),
    ];
    for (body, _) in cases {
        written(&post(&stack, topic, body).await, topic);
    }
    // However the type is written.
    for content_type in
        ["Application/JSON", "application/json; charset=utf-8", "application/json;charset=\"utf-8\""]
    {
        let request =
            Request::post(ANY, "{ }").with("x-kafka-topic", topic).with("content-type", content_type);
        written(&ask(stack.gateway(), request).await, topic);
    }
    let records = consume(kafka, topic, 1).await;
    assert_eq!(records.len(), cases.len() + 3);
    let wants = cases.iter().map(|(_, want)| *want).chain(["{}"; 3]);
    for (record, want) in records.values().zip(wants) {
        assert_eq!(String::from_utf8_lossy(record.value.as_deref().unwrap()), want);
    }
}

async fn what_is_no_json_is_refused_with_its_place(way: Way) {
    let (kafka, stack) = shared(way).await;
    let topic = &kafka.topic("invalid", 1, &[]).await.unwrap();
    let check = async |body: &[u8], place: &str| {
        problem(&post(&stack, topic, body).await, 400, place);
    };
    check(b"", "line 1").await;
    check(b" \n ", "line 2").await;
    check(b"{\"a\":}", "line 1 column 6").await;
    check(b"{\"a\":1,\n \"b\" 2}", "line 2 column 6").await;
    check(b"[1,\n2,\n3,]", "line 3 column 3").await;
    check(b"{\"a\":1}\n\n x", "line 3 column 2").await;
    check(b"[1 2]", "line 1 column 4").await;
    check(b"x", "line 1 column 1").await;
    for body in [
        &b"{\"a\":1"[..],
        b"[",
        b"\"",
        b"{",
        b"{\"a\"",
        b"tru",
        b"nul",
        b"-",
        b"1.",
        b"1e",
        b"01",
        b"+1",
        b".5",
        b"NaN",
        b"Infinity",
        b"'a'",
        b"{a:1}",
        b"[1,]",
        b"{\"a\":1,}",
        b"// c\n1",
        b"/* c */ 1",
        b"1 2",
        b"\"\\x\"",
        b"\"\\u12\"",
        b"\"a\nb\"",
        b"\"\x00\"",
        b"\xEF\xBB\xBF{}",
        b"{\"a\":1}}",
        b"]",
        b"\x0B1",
        b"1\xC2\xA0",
    ] {
        check(body, "line ").await;
    }
    for body in [&b"\"\xFF\""[..], b"\"\xC3\"", b"{\"\xED\xA0\x80\":1}", b"\xFE\xFF\x00{\x00}"] {
        check(body, "UTF-8").await;
    }
    assert_eq!(kafka.watermarks(topic, 0).unwrap(), (0, 0));
}

async fn a_key_is_what_the_path_finds(way: Way) {
    let (kafka, stack) = shared(way).await;
    let topic = &kafka.topic("jsonkey", 1, &[]).await.unwrap();
    let (found, null) = (|key: &'static str| Some(Some(key)), Some(None));
    // The path, the document, the key; `None` where the path is not there.
    let cases = [
        ("id", r#"{"id":"text"}"#, found("text")),
        // The content of a string, without its escapes.
        ("id", r#"{"id":"\u00e9\t\"\ud83d\ude00\/"}"#, found("é\t\"😀/")),
        ("id", r#"{"id":""}"#, found("")),
        // Anything else as it was sent.
        ("id", r#"{"id": 1.50e1 }"#, found("1.50e1")),
        ("id", r#"{"id":12345678901234567890123}"#, found("12345678901234567890123")),
        ("id", r#"{"id":true}"#, found("true")),
        ("id", r#"{"id": { "b" : 1.0, "a" : [ ] } }"#, found(r#"{"b":1.0,"a":[]}"#)),
        ("id", r#"{"id":[ 1, "x y" ]}"#, found(r#"[1,"x y"]"#)),
        ("id", r#"{"id":null}"#, null),
        ("id", r#"{"ID":1}"#, None),
        ("id", r#"[{"id":1}]"#, None),
        ("id", "7", None),
        ("a.b", r#"{ "a" : { "b" : "nested" } }"#, found("nested")),
        ("a.b", r#"{"a":{"b":null}}"#, null),
        ("a.b", r#"{"a.b":1}"#, None),
        ("a.b", r#"{"a":7}"#, None),
        (r"a\.b", r#"{"a.b":1}"#, found("1")),
        ("list.1", r#"{"list":[1,"two",3]}"#, found("two")),
        ("list.1", r#"{"list":[1]}"#, None),
        ("list.1.deep", r#"{"list":[0,{"deep":"er"}]}"#, found("er")),
        ("list.#", r#"{"list":[0,0,0]}"#, found("3")),
        ("list.#.n", r#"{"list":[{"n":1},{"m":0},{"n":"x"}]}"#, found(r#"[1,"x"]"#)),
        ("w*.?b", r#"{"when":{"ab":"wild"}}"#, found("wild")),
        ("é", r#"{"é":"à"}"#, found("à")),
    ];
    for (path, body, want) in cases {
        let response = by(&stack, topic, path, body, true).await;
        if want.is_some() {
            assert_eq!(response.status, 200, "{path} of {body}: {}", response.text());
        } else {
            problem(&response, 400, path);
        }
    }
    // Not JSON by its type: the route's key.
    written(&by(&stack, topic, "id", r#"{"id":1}"#, false).await, topic);
    let keys = keys(kafka, topic).await;
    let wants = cases.iter().filter_map(|(_, _, want)| *want).chain([Some("route key")]);
    let wants: Vec<Option<String>> = wants.map(|want| want.map(str::to_owned)).collect();
    assert_eq!(keys, wants);
}

/// What the route answers whose `jsonkey` is this path.
async fn by(stack: &Stack, topic: &str, path: &str, body: &'static str, json: bool) -> Response {
    let route = JSONKEYS.iter().position(|jsonkey| *jsonkey == path).unwrap();
    let mut request = Request::post(format!("/jsonkey/{route}"), body).with("x-kafka-topic", topic);
    if json {
        request = request.with("content-type", "application/json");
    }
    ask(stack.gateway(), request).await
}

async fn keys(kafka: &Kafka, topic: &str) -> Vec<Option<String>> {
    let records = consume(kafka, topic, 1).await;
    let text = |bytes: &Vec<u8>| String::from_utf8(bytes.clone()).unwrap();
    records.values().map(|record| record.key.as_ref().map(text)).collect()
}
