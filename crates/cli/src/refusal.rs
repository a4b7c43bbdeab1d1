//! Hints about answers that are not the expected ones: what to check, beside the server's own words.

use std::borrow::Cow;

use sluicegate_client::{Reason, refusal_text};

/// A hint after the refusal of a request to `url`, if the server's own words do not say so. The title of a page is
/// no reason.
pub(crate) fn hint(status: u16, body: &str, url: &str) -> String {
    let text = refusal_text(body);
    let hint = match text.contains("gateway_secret") {
        true => Some("only the gateway's operator can fix this".to_owned()),
        false if text.is_empty() || body.trim_start().starts_with('<') => advice_on(status, url),
        false => None,
    };
    hint.map(|hint| format!("; {hint}")).unwrap_or_default()
}

/// The text of a command's error, whose advice is for programs, with the command line's own advice.
pub(crate) fn advice(message: &str, reason: Reason) -> Cow<'_, str> {
    let before = |text| message.find(text).and_then(|at| message.get(..at));
    if let (Reason::Recreated, Some(what)) = (reason, before(": subscribe without")) {
        return format!("{what}: begin again with --from earliest or latest").into();
    }
    if let Some(before) = before(OF_KAFKA) {
        return format!("{before}{OF_KAFKA}name a topic instead of --stream").into();
    }
    if let Some(before) = before(OF_NATS) {
        return format!(
            "{before}{OF_NATS}name a stream with --stream instead of a topic; GET /streams of a `rest` route lists them"
        )
        .into();
    }
    message.into()
}

/// `message`, and the identifier under which the bridge's logs have it, if there is one.
pub(crate) fn traced<'a>(message: &'a str, trace_id: &str) -> Cow<'a, str> {
    if trace_id.is_empty() { message.into() } else { format!("{message} (trace_id {trace_id})").into() }
}

/// The hint that `url` is that of a resource of a `rest` route, and not the route's.
pub(crate) fn longer_than_the_route(status: u16, url: &str) -> String {
    let path = url.split_once('?').map_or(url, |(url, _)| url).trim_end_matches('/');
    let route = ["/topics", "/streams"].iter().find_map(|resource| path.strip_suffix(resource));
    match route {
        Some(route) if status == 404 => format!("; is {route} the URL of the `rest` route?"),
        _ => String::new(),
    }
}

/// The hint that the port of `url` may be one for its other scheme.
pub(crate) fn other_scheme(url: &str) -> String {
    let Some((scheme, _)) = url.split_once("://") else { return String::new() };
    match scheme {
        "ws" => "; if the port expects TLS, use wss://",
        "http" => "; if the port expects TLS, use https://",
        "wss" => "; if the port is one without TLS, use ws://",
        "https" => "; if the port is one without TLS, use http://",
        _ => "",
    }
    .to_owned()
}

/// Advice on what to check, if the status says that the URL or the login is wrong.
fn advice_on(status: u16, url: &str) -> Option<String> {
    let (kind, example) = if url.starts_with("ws") { ("pubsub", "/pubsub") } else { ("rest", "/kafka") };
    let url = url.split_once("://").map_or(url, |(_, rest)| rest);
    let url = url.split_once('?').map_or(url, |(url, _)| url);
    let path = url.find('/').and_then(|at| url.get(at..)).unwrap_or_default();
    match status {
        401 => Some("to log in, use --token-file or --header, or a profile".to_owned()),
        200..=399 | 400 | 404 | 405 | 426 if path.trim_matches('/').is_empty() => {
            Some(format!("the URL has no path: add that of a `{kind}` route, for example {example}"))
        }
        200..=399 | 404 | 405 | 426 => Some(format!("is {path} the path of a `{kind}` route?")),
        _ => None,
    }
}

/// Prefixes of the bridge's errors about commands of the other system.
const OF_KAFKA: &str = "the cluster is of Kafka: ";
const OF_NATS: &str = "the cluster is of NATS: ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hint_is_for_answers_without_a_reason() {
        let no_path = "; the URL has no path: add that of a `pubsub` route, for example /pubsub";
        let log_in = "; to log in, use --token-file or --header, or a profile";
        let operator = "; only the gateway's operator can fix this";
        for (status, body, url, want) in [
            (200, "<title>Live orders</title>", "ws://g", no_path),
            (200, "<html>", "ws://g/", no_path),
            (404, "", "ws://g?…", no_path),
            (404, "", "wss://g/pub", "; is /pub the path of a `pubsub` route?"),
            (404, "unknown cluster east", "http://g/", ""),
            (400, "header sluicegate-rows is invalid", "ws://g/", ""),
            (426, "", "ws://g/a/", "; is /a/ the path of a `pubsub` route?"),
            (426, r#"{"detail":"a WebSocket route"}"#, "ws://g/", ""),
            (400, "", "ws://g/a/", ""),
            (401, " \n", "ws://g/p", log_in),
            (401, "the token is for another audience", "ws://g/p", ""),
            (401, "secret does not match the bridge's gateway_secret", "ws://g/p", operator),
            (503, "", "ws://g/p", ""),
        ] {
            assert_eq!(hint(status, body, url), want, "{status} {body:?}");
        }
    }

    #[test]
    fn advice_is_for_the_command_line() {
        let recreated = "topic \"t\" has been deleted and created again: subscribe without the positions";
        for (message, reason, want) in [
            (
                recreated,
                Reason::Recreated,
                "topic \"t\" has been deleted and created again: begin again with --from earliest or latest",
            ),
            (
                "the cluster is of Kafka: expected cmd_kafka_list_offsets",
                Reason::InvalidCommand,
                "the cluster is of Kafka: name a topic instead of --stream",
            ),
            (
                "the cluster is of NATS: expected GET /streams",
                Reason::InvalidCommand,
                "the cluster is of NATS: name a stream with --stream instead of a topic; \
                 GET /streams of a `rest` route lists them",
            ),
            ("anything else", Reason::Recreated, "anything else"),
        ] {
            assert_eq!(advice(message, reason), want);
        }
    }

    #[test]
    fn url_of_a_resource_suggests_that_of_the_route() {
        let hint = longer_than_the_route(404, "http://g/kafka/topics/?…");
        assert_eq!(hint, "; is http://g/kafka the URL of the `rest` route?");
        assert_eq!(longer_than_the_route(404, "http://g/kafka"), "");
        assert_eq!(longer_than_the_route(403, "http://g/kafka/topics"), "");
    }

    #[test]
    fn other_scheme_is_named_for_each() {
        for (url, other) in
            [("ws://g", "wss://"), ("wss://g", "ws://"), ("http://g", "https://"), ("https://g", "http://")]
        {
            assert!(other_scheme(url).ends_with(&format!("use {other}")), "{url}");
        }
        assert_eq!(other_scheme("g"), "");
    }
}
