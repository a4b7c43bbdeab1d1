//! Requests of web pages on a route with origins.

use ::http::StatusCode;
use sluicegate_protocol::http_route::Resource;
use sluicegate_protocol::{HttpRoute, HttpStreams};

use super::super::{Page, check_page};
use super::*;

const APP: &str = "https://app.example";

fn cors(origins: &[&str], credentials: bool) -> HttpCors {
    HttpCors { origins: origins.iter().map(|origin| (*origin).to_owned()).collect(), credentials }
}

fn parts(method: &str, lines: &[(&str, &str)]) -> request::Parts {
    let mut request = Request::builder().method(method);
    for (name, value) in lines {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

/// The status, if the page is answered at once, and the headers for the answer, sorted.
async fn judge(cors: HttpCors, method: &str, lines: &[(&str, &str)]) -> (Option<StatusCode>, String) {
    let route = HttpRoute { cors: Some(cors), ..HttpRoute::default() };
    let methods = [Method::GET, Method::POST];
    let (status, headers) = match check_page(&route, &methods, &parts(method, lines)).await {
        Page::Passes(headers) => (None, headers),
        Page::Answered(response) => (Some(response.status()), response.headers().clone()),
    };
    let is_of_cors = |name: &HeaderName| name == header::VARY || name.as_str().starts_with("access-control-");
    let of_cors = headers.iter().filter(|(name, _)| is_of_cors(name));
    let mut lines: Vec<String> =
        of_cors.map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap())).collect();
    lines.sort();
    (status, lines.concat())
}

const EXPOSES: &str = "access-control-expose-headers: retry-after,allow,preference-applied,sluicegate-next-offset,\
                       sluicegate-log-start-offset,sluicegate-last-stable-offset,sluicegate-high-watermark,\
                       sluicegate-next-sequence,sluicegate-first-sequence,sluicegate-end,producer-epoch,producer-seq,\
                       producer-expected-seq,producer-duplicate,producer-window,producer-in-order,stream-next-offset,\
                       stream-up-to-date,stream-cursor,stream-sse-data-encoding,producer-received-seq,etag\n";

/// The lines of a preflight for POST with these headers.
fn preflight(names: &str) -> [(&str, &str); 3] {
    [("origin", APP), ("access-control-request-method", "POST"), ("access-control-request-headers", names)]
}

#[tokio::test]
async fn listed_origin_is_allowed_by_name_and_any_without_credentials() {
    let by_name = format!("access-control-allow-origin: {APP}\n{EXPOSES}vary: origin\n");
    let trusted = format!("access-control-allow-credentials: true\n{by_name}");
    let any = format!("access-control-allow-origin: *\n{EXPOSES}");
    for (origins, credentials, lines, want) in [
        (&["https://x", APP][..], false, &[("origin", APP)][..], &*by_name),
        (&["https://x", APP], true, &[("origin", APP)], &trusted),
        (&["*"], false, &[("origin", APP)], &any),
        (&["*"], true, &[("origin", APP)], &any),
        (&[APP], true, &[], "vary: origin\n"),
        (&["*"], false, &[], ""),
    ] {
        let judged = judge(cors(origins, credentials), "GET", lines).await;
        assert_eq!(judged, (None, want.to_owned()), "{origins:?}, credentials: {credentials}, {lines:?}");
    }
}

/// A cache gives pages what others have asked for without an origin.
#[tokio::test]
async fn shared_answers_are_for_any_origin() {
    let shared = |public| async move {
        let streams = HttpStreams { public, ..HttpStreams::default() };
        let resource = Some(Resource::Streams(streams));
        let route = HttpRoute { cors: Some(cors(&["*"], false)), resource, ..HttpRoute::default() };
        match check_page(&route, &[Method::GET], &parts("GET", &[])).await {
            Page::Passes(headers) => headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN),
            Page::Answered(_) => false,
        }
    };
    assert!(shared(true).await && !shared(false).await);
}

#[tokio::test]
async fn refused_origin_gets_no_access_control_headers() {
    let preflight = ("access-control-request-method", "POST");
    for lines in [
        &[("origin", "https://evil.example")][..],
        &[("origin", "null")],
        &[("origin", "")],
        &[("origin", "https://app.example.evil")],
        &[("origin", "https://app.example, https://evil.example")],
        &[("origin", APP), ("origin", APP)],
        &[("origin", APP), ("origin", "https://evil.example")],
    ] {
        for method in ["GET", "POST", "OPTIONS"] {
            let lines = [lines, &[preflight]].concat();
            let judged = judge(cors(&[APP], true), method, &lines).await;
            let want = (Some(StatusCode::FORBIDDEN), "vary: origin\n".to_owned());
            assert_eq!(judged, want, "{method} {lines:?}");
        }
    }
    let twice = [("origin", APP), ("origin", APP)];
    let (status, headers) = judge(cors(&["*"], false), "GET", &twice).await;
    assert_eq!((status, headers.contains("access-control")), (Some(StatusCode::FORBIDDEN), false));
}

#[tokio::test]
async fn preflight_names_methods_and_requested_headers() {
    let lines = preflight("content-type,, X-Kafka-Key,");
    let (status, headers) = judge(cors(&[APP], true), "OPTIONS", &lines).await;
    let want = format!(
        "access-control-allow-credentials: true\n\
         access-control-allow-headers: content-type,x-kafka-key\n\
         access-control-allow-methods: GET,POST\n\
         access-control-allow-origin: {APP}\n\
         access-control-max-age: 600\n\
         vary: origin\n"
    );
    assert_eq!((status, headers), (Some(StatusCode::NO_CONTENT), want));
    // Without the method it is an OPTIONS request of its own.
    assert_eq!(judge(cors(&[APP], true), "OPTIONS", &lines[..1]).await.0, None);
}

/// tower-http panics at combinations that browsers reject.
#[tokio::test]
async fn invalid_header_names_are_refused_and_not_echoed() {
    let long = "x,".repeat(512) + "x";
    for names in ["*", "x-a, *", "a b", "a\tb", "x-a:", "\"x\"", "é", &long] {
        for (origins, credentials) in [(APP, true), (APP, false), ("*", true), ("*", false)] {
            for method in ["OPTIONS", "GET"] {
                let cors = cors(&[origins], credentials);
                let (status, headers) = judge(cors, method, &preflight(names)).await;
                assert_eq!(status, Some(StatusCode::BAD_REQUEST), "{names}");
                assert!(!headers.contains("access-control"), "{headers}");
            }
        }
    }
    let fits = "x,".repeat(511) + "x";
    for fits in [&*fits, "", ","] {
        let (status, _) = judge(cors(&[APP], true), "OPTIONS", &preflight(fits)).await;
        assert_eq!(status, Some(StatusCode::NO_CONTENT));
    }
}

#[tokio::test]
async fn requested_method_is_not_echoed() {
    for method in ["*", "DELETE", "", "no method"] {
        let lines = [("origin", APP), ("access-control-request-method", method)];
        let (status, headers) = judge(cors(&[APP], true), "OPTIONS", &lines).await;
        assert_eq!(status, Some(StatusCode::NO_CONTENT));
        assert!(headers.contains("access-control-allow-methods: GET,POST\n"), "{headers}");
    }
}
