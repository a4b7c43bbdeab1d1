//! Explains answers that are not the expected ones: the server's own text in one line, and what to check.

use std::borrow::Cow;

use serde_json::Value;
use sluicegate_client::Reason;

/// Words after the status of an answer to `url` in an error: the server's text, and a hint unless that is an
/// explanation.
pub(crate) fn cause(status: u16, body: &str, url: &str) -> String {
    let (text, hint) = match text(body) {
        Text::Explanation(text) | Text::Other(text) if text.contains("gateway_secret") => {
            (text, Some("only the gateway's operator can fix this".to_owned()))
        }
        Text::Explanation(text) => (text, None),
        Text::Other(text) => (text, hint(status, url)),
    };
    let text = if text.is_empty() { text } else { format!(": {text}") };
    let hint = hint.map(|hint| format!("; {hint}")).unwrap_or_default();
    text + &hint
}

/// The server's own text in the body of an answer, without a hint.
pub(crate) fn text_of(body: &str) -> String {
    match text(body) {
        Text::Explanation(text) | Text::Other(text) => text,
    }
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

enum Text {
    /// The detail of a problem document.
    Explanation(String),
    /// The message of another JSON document, the title of an HTML page, or the beginning of anything else.
    Other(String),
}

fn text(body: &str) -> Text {
    let body = body.trim();
    let document: Option<Value> = serde_json::from_str(body).ok();
    let member = |name: &str| document.as_ref()?.get(name)?.as_str();
    if let Some(detail) = member("detail") {
        return Text::Explanation(shortened(detail));
    }
    // Apache APISIX's routes and plugins.
    let message = member("error_msg").or_else(|| member("message"));
    Text::Other(match message {
        None if body.starts_with('<') => title(body).map(shortened).unwrap_or_default(),
        message => shortened(message.unwrap_or(body)),
    })
}

fn title(page: &str) -> Option<&str> {
    let lower = page.to_ascii_lowercase();
    let tag = lower.find("<title")?;
    let start = tag.checked_add(lower.get(tag..)?.find('>')?)?.checked_add(1)?;
    let end = start.checked_add(lower.get(start..)?.find("</title")?)?;
    page.get(start..end).map(str::trim)
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Advice on what to check, if the status says that the URL or the login is wrong.
fn hint(status: u16, url: &str) -> Option<String> {
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
/// Enough for a sentence or two.
const MAX_CHARS: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_is_explained_in_one_line() {
        let page = "<!doctype html>\n<html><head><TITLE lang=en>\n Live orders </TITLE>".to_owned()
            + &"x".repeat(4096);
        let problem = r#"{"type":"about:blank","status":426,"detail":"a WebSocket route"}"#;
        let no_path = "; the URL has no path: add that of a `pubsub` route, for example /pubsub";
        let no_rest_path = ": no; the URL has no path: add that of a `rest` route, for example /kafka";
        let no_token = ": Jwt is missing; to log in, use --token-file or --header, or a profile";
        let secret = "header sluicegate-gateway-secret does not match the bridge's gateway_secret";
        for (status, body, url, want) in [
            (200, &*page, "ws://g", &*format!(": Live orders{no_path}")),
            (200, "<html>", "ws://g/", no_path),
            (404, "", "ws://g?…", no_path),
            (404, "", "wss://g/pub", "; is /pub the path of a `pubsub` route?"),
            (404, "no", "http://g/", no_rest_path),
            (426, problem, "ws://g/", ": a WebSocket route"),
            (426, "", "ws://g/a/", "; is /a/ the path of a `pubsub` route?"),
            (400, "", "ws://g/a/", ""),
            (403, r#"{"error_msg":"no consumer"}"#, "ws://g/p", ": no consumer"),
            (401, "Jwt is missing", "ws://g/p", no_token),
            (401, secret, "ws://g/p", &format!(": {secret}; only the gateway's operator can fix this")),
            (503, r#"{"detail":5}"#, "ws://g/p", r#": {"detail":5}"#),
            (503, " \n", "ws://g/p", ""),
        ] {
            assert_eq!(cause(status, body, url), want, "{status} {body:?}");
        }
        assert_eq!(cause(503, &"é".repeat(301), "ws://g/p"), format!(": {}…", "é".repeat(300)));
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
    fn title_needs_its_end() {
        for page in ["<title", "<title>", "<title>a", "<title>a</titl", "<html></title><title>"] {
            assert_eq!(title(page), None, "{page}");
        }
        assert_eq!(title("<title>a</title>"), Some("a"));
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
