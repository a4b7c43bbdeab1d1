//! Plain HTTP requests for these tests, and checks of their outcome.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use prost::Message;
use sluicegate_harness::{Headers, Response};
use sluicegate_protocol::HttpRoute;

/// A web page that the produce route lists.
pub(crate) const PAGE: &str = "https://app.example";

/// The mark of a response that the bridge made.
pub(crate) const ANSWERED: (&str, &str) = ("sluicegate-answered", "1");

/// A request without a body.
pub(crate) fn request(method: &str, path: &str) -> Headers {
    Headers::from([
        (":method", method),
        (":path", path),
        (":scheme", "http"),
        (":authority", "gateway.example"),
    ])
}

/// A request with a body to come, of which the length is not known.
pub(crate) fn post(path: &str) -> Headers {
    request("POST", path).with("transfer-encoding", "chunked")
}

/// The route that the bridge is told of.
#[track_caller]
pub(crate) fn settings(headers: &Headers) -> HttpRoute {
    let settings = headers.get("sluicegate-http").expect("settings");
    let settings = STANDARD_NO_PAD.decode(settings).expect("base64 without padding");
    HttpRoute::decode(&settings[..]).expect("an HttpRoute")
}

/// This is such a problem document, whole.
#[track_caller]
pub(crate) fn says(response: &Response, status: u16, detail: &str) {
    let text = response.text();
    assert_eq!(response.status(), status, "{text}");
    assert_eq!(response.headers.text("content-type"), Some("application/problem+json"));
    assert!(text.contains(&format!(r#","status":{status},"detail":"{detail}""#)), "{text}");
    assert!(response.complete);
}
