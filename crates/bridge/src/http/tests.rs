//! Requests and answers, for the tests of all resources.

use http::HeaderName;
use http_body_util::BodyExt;

use sluicegate_protocol::HttpRest;

use super::*;

/// A route to the resource of a cluster at this path.
pub(crate) fn rest(path: &str) -> HttpRoute {
    HttpRoute {
        path: path.into(),
        resource: Some(Resource::Rest(HttpRest::default())),
        ..HttpRoute::default()
    }
}

/// The header lines of a request.
pub(crate) fn headers<V: AsRef<[u8]>>(lines: &[(&str, V)]) -> HeaderMap {
    let value = |value: &V| HeaderValue::from_bytes(value.as_ref()).unwrap();
    lines.iter().map(|(name, text)| (name.parse::<HeaderName>().unwrap(), value(text))).collect()
}

/// The status and the text of an answer.
pub(crate) fn told(response: Response) -> (u16, String) {
    (response.status.as_u16(), String::from_utf8(response.body.to_vec()).unwrap())
}

pub(crate) fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
}

/// The status of an answer to a stream of records, and its lines.
pub(crate) async fn streamed(response: Response) -> (u16, Vec<String>) {
    let response = response.into_http(&Method::POST, None);
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let body = String::from_utf8(body.to_vec()).unwrap();
    (status, body.split_terminator("\r\n").map(str::to_owned).collect())
}

#[track_caller]
pub(crate) fn check_problem(problem: Problem, status: u16, want: &str) {
    let (found, text) = told(problem.plain());
    assert!(found == status && text.contains(want), "expected {status} with {want:?}: {found} {text}");
}
