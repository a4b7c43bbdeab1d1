//! Checks every member of an answer.

use serde_json::Value;
use sluicegate_stack::http::client::Response;
use sluicegate_stack::way::Way;

/// Where a record is, as the answer of a `produce` route says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
}

/// Expects the answer of a `produce` route to one record.
#[track_caller]
pub(crate) fn written(response: &Response, topic: &str) -> Written {
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.header("content-type"), Some("application/json"));
    let json = response.json();
    let number = |name: &str| json[name].as_i64().unwrap_or_else(|| panic!("{name}: {json}"));
    let [partition, offset, timestamp] = ["partition", "offset", "timestamp"].map(number);
    assert_eq!(
        response.text(),
        format!(
            r#"{{"topic":{},"partition":{partition},"offset":{offset},"timestamp":{timestamp}}}"#,
            Value::from(topic)
        )
    );
    Written { partition: partition.try_into().unwrap(), offset, timestamp }
}

/// Expects a problem document (RFC 9457) whose detail holds `words`, and gives it.
#[track_caller]
pub(crate) fn problem(response: &Response, status: u16, words: &str) -> Value {
    assert_eq!(response.status, status, "{}", String::from_utf8_lossy(&response.body));
    assert_eq!(response.header("content-type"), Some("application/problem+json"));
    let json = response.json();
    let title = match status {
        // RFC 9110 renamed two that the crate calls as RFC 7231 did.
        413 => "Content Too Large",
        422 => "Unprocessable Content",
        status => http::StatusCode::from_u16(status).unwrap().canonical_reason().unwrap(),
    };
    let detail = json["detail"].as_str().unwrap();
    assert_eq!(json["title"], title, "{json}");
    assert_eq!(
        (&json["type"], &json["status"]),
        (&Value::from("about:blank"), &Value::from(status)),
        "{json}"
    );
    let (lower, wanted) = (detail.to_lowercase(), words.to_lowercase());
    assert!(lower.contains(&wanted), "{detail:?} says nothing of {words:?}");
    assert!(!detail.contains('\n'), "one line: {detail:?}");
    json
}

/// Expects the gateway's own word in place of an answer of the bridge's, with this status; whether it says that the
/// outcome is unknown. In APISIX it is nginx's page, and a header says so.
#[track_caller]
pub(crate) fn unanswered(way: Way, response: &Response, status: u16) -> bool {
    if status == 503 {
        retry_after(response);
    }
    if way != Way::Apisix {
        let json = problem(response, status, "the bridge");
        return json["unknown_outcome"] == true;
    }
    assert_eq!(
        (response.status, response.header("content-type")),
        (status, Some("text/html")),
        "{response:?}"
    );
    match response.header("sluicegate-outcome") {
        None => false,
        outcome => {
            assert_eq!(outcome, Some("unknown"));
            true
        }
    }
}

/// Expects `retry-after` to be a number of seconds that is worth waiting.
#[track_caller]
pub(crate) fn retry_after(response: &Response) {
    let seconds: u64 = response.header("retry-after").expect("retry-after").parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds} s");
}
