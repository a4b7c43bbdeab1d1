//! Requests for each documented answer about consumers.

use serde_json::json;
use sluicegate_stack::http::client::Request;

use crate::pool::REST;

/// Statuses and their requests, which follow one another.
pub(super) fn requests(topic: &str, large: &str) -> Vec<(u16, Request)> {
    let group = &format!("/consumers/{topic}");
    let one = &format!("{group}/instances/i");
    let ask = |method: &str, path: &str, body: &str| {
        Request::new(method, format!("{REST}{path}")).body(body.to_owned()).with("content-type", JSON)
    };
    let of = |method: &str, path: &str, body: &str| ask(method, &format!("{one}{path}"), body);
    let places = |name: &str, partition: i32| {
        json!({name: [{"topic": topic, "partition": partition, "offset": 0}]}).to_string()
    };
    let assigned =
        |partition: i32| json!({"partitions": [{"topic": topic, "partition": partition}]}).to_string();
    let topics = &json!({"topics": [topic]}).to_string();
    let new = r#"{"name": "i", "format": "json"}"#;
    let mut requests = vec![
        (200, ask("POST", group, new)),
        (409, ask("POST", group, new)),
        (422, ask("POST", group, r#"{"format": "xml"}"#)),
        (409, of("GET", "/records", "")),
        (204, of("POST", "/subscription", topics)),
        (200, of("GET", "/subscription", "")),
        (409, of("POST", "/assignments", &assigned(0))),
        (204, of("DELETE", "/subscription", "")),
        (204, of("POST", "/assignments", &assigned(0))),
        (200, of("GET", "/assignments", "")),
        (409, of("POST", "/subscription", topics)),
        (204, of("POST", "/positions", &places("offsets", 0))),
        (409, of("POST", "/positions", &places("offsets", 1))),
        (200, of("GET", "/records?timeout=0", "")),
        (406, of("GET", "/records", "").with("accept", "text/plain")),
        (200, of("POST", "/offsets", "")),
        (204, of("POST", "/offsets", &places("partitions", 0))),
        (422, of("POST", "/offsets", r#"{"offsets": 1}"#)),
        (200, of("GET", "/offsets", "")),
        (422, of("GET", "/offsets", "{}")),
        (404, ask("GET", &format!("{group}-alone/offsets?topic=no-such-name"), "")),
        (200, ask("POST", &format!("{group}-alone/offsets"), &places("offsets", 0))),
        (422, ask("POST", &format!("{group}-alone/offsets"), "")),
        (
            404,
            ask(
                "POST",
                &format!("{group}-alone/offsets"),
                &places("offsets", 0).replace(topic, "no-such-name"),
            ),
        ),
        (200, ask("GET", &format!("{group}-alone/offsets?topic={topic}"), "")),
        (422, ask("GET", &format!("{group}-alone/offsets"), "{}")),
    ];
    for path in ["/positions/beginning", "/positions/end"] {
        requests.extend([(204, of("POST", path, &assigned(0))), (409, of("POST", path, &assigned(1)))]);
    }
    for path in ["/subscription", "/assignments", "/positions", "/positions/beginning", "/positions/end"] {
        requests.push((422, of("POST", path, "{}")));
    }
    for (method, path) in OPERATIONS {
        let path = &path.replace("GROUP", group).replace("ONE", one);
        let at = |route: &str, path: &str| Request::new(method, format!("{route}{path}"));
        requests.extend([
            (400, at(REST, &format!("{path}?x=1"))),
            (403, at("/readonly", path)),
            (413, ask(method, path, large)),
            (415, at(REST, path).body("x").with("content-type", "text/plain")),
            (502, at("/rest-nowhere", path)),
        ]);
        if path.starts_with(one) {
            requests.push((404, at(REST, &path.replace(one, &format!("{group}/instances/none")))));
        }
    }
    requests.push((204, of("DELETE", "", "")));
    requests
}

/// What can fail in the same ways.
const OPERATIONS: [(&str, &str); 15] = [
    ("POST", "GROUP"),
    ("GET", "GROUP/offsets"),
    ("POST", "GROUP/offsets"),
    ("DELETE", "ONE"),
    ("GET", "ONE/subscription"),
    ("POST", "ONE/subscription"),
    ("DELETE", "ONE/subscription"),
    ("GET", "ONE/assignments"),
    ("POST", "ONE/assignments"),
    ("GET", "ONE/records"),
    ("GET", "ONE/offsets"),
    ("POST", "ONE/offsets"),
    ("POST", "ONE/positions"),
    ("POST", "ONE/positions/beginning"),
    ("POST", "ONE/positions/end"),
];

const JSON: &str = "application/json";
