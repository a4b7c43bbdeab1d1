//! The rights of a route's clients, and the reports of mistakes in them.

use sluicegate_rights::topics::MAX_LIST_BYTES;

use super::*;

/// The headers that tell the bridge what clients of this route can do.
#[track_caller]
fn check(route: &str, want: &[(&str, &str)]) {
    let route = only(route);
    assert_eq!(route.grant.metadata().collect::<Vec<_>>(), want, "{route:?}");
}

#[test]
fn sessions_and_rest_routes_read_by_default_and_write_on_request() {
    for kind in ["pubsub", "rest"] {
        let route = |more: &str| format!(r#""type":"{kind}"{more}"#);
        check(&route(""), &[]);
        check(&route(r#","read":true,"write":false"#), &[]);
        check(&route(r#","read":false"#), &[("sluicegate-read", "false")]);
        let all =
            [("sluicegate-read", "false"), ("sluicegate-write", "true"), ("sluicegate-topics", "a,b.*")];
        check(&route(r#","read":false,"write":true,"topics":["a","b.*"]"#), &all);
    }
}

#[test]
fn produce_routes_write_only_to_their_own_topic() {
    let produce = |route: &str, topics: Option<&str>| {
        let want = [("sluicegate-read", "false"), ("sluicegate-write", "true")];
        let topics = topics.map(|topics| ("sluicegate-topics", topics));
        check(&format!(r#""type":"produce",{route}"#), &want.into_iter().chain(topics).collect::<Vec<_>>());
    };
    produce(r#""topic":"orders""#, Some("orders"));
    produce(r#""topic":"orders","overrides":["key"],"topics":["x","ord*"]"#, Some("orders"));
    produce(r#""topic":"orders","overrides":["topic"]"#, None);
    produce(r#""topic":"orders","overrides":["topic"],"topics":["orders","o.*"]"#, Some("orders,o.*"));
    produce(r#""overrides":["topic"],"topics":["*"]"#, Some("*"));
}

#[test]
fn topics_are_names_or_prefixes() {
    let longest = "a".repeat(249);
    for topics in ["a", "A.b_c-9", "*", ".*", "..*", "a*", &longest, &format!("{longest}*")] {
        check(&format!(r#""topics":["{topics}"]"#), &[("sluicegate-topics", topics)]);
    }
    let expected = "must be topics such as \"orders\" or prefixes such as \"public.*\"";
    let long = format!(r#"["{longest}a"]"#);
    for empty in ["[]", "{}"] {
        mistakes(&format!(r#"{{"path":"/a","topics":{empty}}}"#), &[&format!("topics: {expected}")]);
    }
    let lists = [r#"[""]"#, r#"["."]"#, r#"[".."]"#, r#"["a b"]"#, r#"["a,b"]"#, r#"["a*b"]"#];
    for list in lists.into_iter().chain([r#"["**"]"#, r#"["ü"]"#, r#"["a\r\nb"]"#, &long]) {
        mistakes(&format!(r#"{{"path":"/a","topics":{list}}}"#), &[&format!("topics[0]: {expected}")]);
    }
    mistakes(r#"{"path":"/a","topics":"a"}"#, &["topics: must be an array of topics"]);
}

#[test]
fn topics_fit_in_a_header() {
    let topics = |bytes: usize| {
        let rest = "a".repeat(bytes - 40 * 200);
        let names = std::iter::repeat_n("a".repeat(199), 40).chain([rest]);
        format!(r#"{{"path":"/a","topics":{:?}}}"#, names.collect::<Vec<_>>())
    };
    assert!(parse(topics(MAX_LIST_BYTES).as_bytes()).is_ok());
    mistakes(&topics(MAX_LIST_BYTES + 1), &["topics: must be at most 8192 bytes in all"]);
}

#[test]
fn mistakes_in_a_grant_are_reported_with_their_keys() {
    mistakes(
        r#"{"routes":[{"path":"/a","read":"yes","write":1},
                      {"path":"/b","type":"produce","topic":"orders","topics":["payments","order"],"read":false}]}"#,
        &[
            "routes[0].read: must be true, false or an array of topics",
            "routes[0].write: must be true, false or an array of topics",
            "routes[1].topics: must cover the route's topic (orders)",
            "routes[1].read: unknown key",
        ],
    );
}
