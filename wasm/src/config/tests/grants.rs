//! The rights of a route's clients and of people, how people show who they are, and the reports of mistakes in these.

use serde_json::{Value, json};
use sluicegate_protocol::metadata;
use sluicegate_rights::topics::MAX_LIST_BYTES;

use super::*;
use crate::token::Places;

/// The headers that tell the bridge what clients of this route can do.
#[track_caller]
fn check(route: &str, want: &[(&str, &str)]) {
    let route = only(route);
    assert_eq!(route.grant.metadata().collect::<Vec<_>>(), want, "{route:?}");
}

/// A route with these keys is refused for this mistake alone.
#[track_caller]
fn refused(route: &str, mistake: &str) {
    mistakes(&format!(r#"{{"path":"/a",{route}}}"#), &[mistake]);
}

const TOPICS: &str = "must be topics such as \"orders\" or prefixes such as \"public.*\"";

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
fn routes_that_write_can_encode_and_rest_routes_register() {
    let (write, encode) = (("sluicegate-write", "true"), ("sluicegate-encode", "true"));
    let register = ("sluicegate-register-schemas", "true");
    check(r#""write":true,"encode":true"#, &[write, encode]);
    check(r#""type":"rest","write":true,"register_schemas":true"#, &[write, register]);
    check(r#""type":"rest","write":true,"encode":false,"register_schemas":false"#, &[write]);
    let own = [("sluicegate-read", "false"), write, ("sluicegate-topics", "t"), encode];
    check(r#""type":"produce","topic":"t","encode":true"#, &own);
    refused(r#""write":true,"register_schemas":true"#, "register_schemas: unknown key");
    refused(r#""write":true,"encode":1"#, "encode: must be true or false");
    for key in ["encode", "register_schemas"] {
        let route = format!(r#""type":"rest","{key}":true"#);
        refused(&route, &format!("{key}: needs write: clients of the route cannot write"));
        let defined = format!(r#"{route},"write":true,"kafka":{{"nodes":["a:9092"]}}"#);
        let schemas = "needs a cluster of the bridge's configuration, with `schemas` there";
        refused(&defined, &format!("{key}: {schemas}"));
    }
}

#[test]
fn routes_let_clients_consume_in_groups() {
    for kind in ["pubsub", "rest"] {
        let route = format!(r#""type":"{kind}","consume":["web.*","reports"]"#);
        check(&route, &[("sluicegate-consume", "web.*,reports")]);
    }
    let policy = json!({"identity": {"from_gateway": true}, "read": [{"topic": "*"}], "consume": [{"topic": "of-${sub}"}]});
    // The policy says which of all.
    let all = [("sluicegate-consume", "*")];
    check_policy(&format!(r#""type":"rest",{JWT},"consume":["of-${{sub}}"]"#), &policy, &all);
    let unread = r#""type":"rest","read":false,"write":true,"consume":["g"]"#;
    refused(unread, "consume: needs read: clients of the route cannot read");
    refused(r#""type":"rest","consume":[]"#, &format!("consume: {TOPICS}"));
    refused(r#""type":"produce","topic":"t","consume":["g"]"#, "consume: unknown key");
}

#[test]
fn rest_routes_can_describe_the_cluster() {
    check(r#""type":"rest","describe":true"#, &[("sluicegate-describe", "true")]);
    check(r#""type":"rest","describe":false"#, &[]);
    refused(r#""describe":true"#, "describe: unknown key");
}

#[test]
fn topics_are_names_or_prefixes() {
    let longest = "a".repeat(249);
    for topics in ["a", "A.b_c-9", "*", ".*", "..*", "a*", &longest, &format!("{longest}*")] {
        check(&format!(r#""topics":["{topics}"]"#), &[("sluicegate-topics", topics)]);
    }
    let long = format!(r#"["{longest}a"]"#);
    for empty in ["[]", "{}"] {
        refused(&format!(r#""topics":{empty}"#), &format!("topics: {TOPICS}"));
    }
    let lists = [r#"[""]"#, r#"["."]"#, r#"[".."]"#, r#"["a b"]"#, r#"["a,b"]"#, r#"["a*b"]"#];
    for list in lists.into_iter().chain([r#"["**"]"#, r#"["ü"]"#, r#"["a\r\nb"]"#, &long]) {
        refused(&format!(r#""topics":{list}"#), &format!("topics[0]: {TOPICS}"));
    }
    refused(r#""topics":"a""#, "topics: must be an array of topics");
}

#[test]
fn topics_fit_in_a_header() {
    let topics = |bytes: usize| {
        let rest = "a".repeat(bytes - 40 * 200);
        let names = std::iter::repeat_n("a".repeat(199), 40).chain([rest]);
        format!(r#""topics":{:?}"#, names.collect::<Vec<_>>())
    };
    only(&topics(MAX_LIST_BYTES));
    refused(&topics(MAX_LIST_BYTES + 1), "topics: must be at most 8192 bytes in all");
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

const JWT: &str = r#""identity":{"from":"jwt_authn","payload":"claims"}"#;

/// The policy that the bridge is told for this route, and the other headers about rights.
#[track_caller]
fn check_policy(route: &str, policy: &Value, others: &[(&str, &str)]) {
    let route = only(route);
    let headers: Vec<_> = route.grant.metadata().collect();
    let (access, rest): (Vec<_>, Vec<_>) =
        headers.into_iter().partition(|(name, _)| *name == metadata::ACCESS);
    let [(_, access)] = access[..] else { panic!("{access:?}") };
    assert_eq!(
        (serde_json::from_str::<Value>(access).unwrap(), &rest[..]),
        (policy.clone(), others),
        "{route:?}"
    );
}

#[test]
fn rights_of_people_are_told_as_a_policy() {
    let gateway = json!({"from_gateway": true});
    check_policy(JWT, &json!({"identity": gateway, "read": [{"topic": "*"}]}), &[]);
    let all = json!({
        "identity": gateway,
        "claims": {"roles": ["https://app.example/roles"], "team": ["realm", "team"]},
        "capabilities": ["cap"],
        "read": [{"topic": "public.*"}, {"topic": "teams.${team}.*"}],
        "write": [{"topic": "orders.${sub}", "when": {"roles": ["buyer"]}}],
    });
    let route = format!(
        r#"{JWT},"claims":{{"roles":["https://app.example/roles"],"team":["realm","team"]}},"capabilities":["cap"],
           "topics":["public.*","teams.${{team}}.*"],
           "write":[{{"topic":"orders.${{sub}}","when":{{"roles":["buyer"]}}}}]"#
    );
    check_policy(&route, &all, &[("sluicegate-write", "true")]);
    let shared =
        json!({"identity": gateway, "read": [{"topic": "a.${sub}"}], "write": [{"topic": "a.${sub}"}]});
    let writes = [("sluicegate-write", "true")];
    check_policy(&format!(r#"{JWT},"topics":["a.${{sub}}"],"write":true"#), &shared, &writes);
    let writes = json!({"identity": gateway, "write": [{"topic": "a"}]});
    let others = [("sluicegate-read", "false"), ("sluicegate-write", "true")];
    check_policy(&format!(r#"{JWT},"read":false,"write":["a"]"#), &writes, &others);
    let quota = json!({"sessions": 3, "subscriptions": 1000, "commands_per_second": 1000, "records_per_second": 4_294_967_295_u32,
        "read_bytes_per_second": 67_108_864, "write_bytes_per_second": 16_777_216});
    let limited = json!({"identity": gateway, "read": [{"topic": "*"}], "quota": quota});
    let route = format!(r#"{JWT},"quota":{{"sessions":3,"records_per_second":4294967295}}"#);
    check_policy(&route, &limited, &[]);
    // Without an identity, rights can have topics of their own too.
    let own = json!({"read": [{"topic": "*"}], "write": [{"topic": "a"}]});
    check_policy(r#""write":["a"]"#, &own, &others[1..]);
    // Rows are told so, too.
    let only = json!([{"topic": "a", "only": {"header": "public", "is": "yes"}}, {"topic": "b"}]);
    let route = format!(r#""topics":{},"write":false"#, json!([only[0], "b"]));
    check_policy(&route, &json!({"read": only}), &[]);
}

#[test]
fn produce_route_keeps_its_only_topic() {
    let policy = json!({"identity": {"from_gateway": true}, "write": [{"topic": "orders.${sub}"}]});
    let others =
        [("sluicegate-read", "false"), ("sluicegate-write", "true"), ("sluicegate-topics", "orders.alice")];
    let produce = r#""type":"produce","topics":["orders.${sub}"]"#;
    check_policy(&format!(r#"{produce},{JWT},"topic":"orders.alice""#), &policy, &others);
    check_policy(&format!(r#"{produce},{JWT},"overrides":["topic"]"#), &policy, &others[..2]);
}

#[test]
fn identity_has_a_source() {
    let source = |identity: &str| {
        let route = only(&format!(r#""origins":["https://app.example"],"identity":{identity}"#));
        let told = route.grant.policy.as_ref().and_then(|personal| personal.policy.identity.clone()).unwrap();
        (route.source().cloned().unwrap(), told)
    };
    let (jwt, told) = source(r#"{"from":"jwt_authn","payload":"p","name":"main","anonymous":true}"#);
    assert!(
        matches!(jwt, Source::Metadata { namespace: "envoy.filters.http.jwt_authn", payload: Some(p) } if p == "p")
    );
    assert!(told.from_gateway && told.anonymous && told.token.as_deref() == Some("main"));
    let (ext, _) = source(r#"{"from":"ext_authz"}"#);
    assert_eq!(ext, Source::Metadata { namespace: "envoy.filters.http.ext_authz", payload: None });
    let (token, told) = source(r#"{"from":"token","name":"main","query":"t","cookie":"sid"}"#);
    assert_eq!(token, Source::Token(Places { query: Some("t".into()), cookie: Some("sid".into()) }));
    assert!(!told.from_gateway && !told.anonymous);
    let (certificate, told) = source(r#"{"from":"certificate","subject":"uri_san"}"#);
    assert_eq!((certificate, told.from_gateway), (Source::Certificate(CertificateName::Uri), true));
}

#[test]
fn consumers_are_for_those_who_trust_their_headers() {
    let conf = r#"{"identity":{"from":"consumer","trust_consumer_headers":true}}"#;
    assert_eq!(parse_in_apisix(conf).unwrap().routes[0].source(), Some(&Source::Consumer));
    let untrusted = parse_in_apisix(r#"{"identity":{"from":"consumer"}}"#).unwrap_err();
    assert_eq!(untrusted.len(), 1, "{untrusted:?}");
    assert!(untrusted[0].starts_with("identity.trust_consumer_headers: must be true"), "{untrusted:?}");
    let foreign = parse_in_apisix(&format!("{{{JWT}}}")).unwrap_err();
    assert!(foreign[0].contains("\"token\" or \"consumer\" in APISIX"), "{foreign:?}");
}

#[test]
fn mistakes_in_an_identity_are_reported_with_their_keys() {
    let check = |route: &str, want: &str| {
        let found = parse(format!(r#"{{"path":"/a",{route}}}"#).as_bytes()).expect_err(route);
        assert!(found.iter().any(|mistake| mistake.starts_with(want)), "{route}: {found:?}");
    };
    for (route, want) in [
        (r#""identity":"jwt""#, "identity: must be an object"),
        (r#""topics":[{"topic":"a","only":{"key_prefix":"${sub}"}}]"#, "topics[0]: a key_prefix ends with"),
        (r#""topics":[{"topic":"a","only":{"key_prefix":"${sub}:"}}]"#, "identity: is missing"),
        (r#""identity":{"from":"jwt"}"#, "identity.from: must be"),
        (r#""identity":{"from":"jwt_authn"}"#, "identity.payload: is missing"),
        (r#""identity":{"from":"token"}"#, "identity.name: is missing"),
        (r#""identity":{"from":"token","name":"a b"}"#, "identity.name: must be the NAME"),
        (r#""identity":{"from":"token","name":"a","payload":"p"}"#, "identity.payload: unknown key"),
        (r#""identity":{"from":"certificate"}"#, "identity.subject: must be"),
        (r#""identity":{"from":"consumer","trust_consumer_headers":true}"#, "from: must be another"),
        (r#""identity":{"from":"token","name":"a","cookie":"sid"}"#, "origins: is missing"),
        (
            r#""type":"rest","origins":["*"],"identity":{"from":"token","name":"a","cookie":"sid"}"#,
            "origins: is missing",
        ),
        (r#""topics":["a.${sub}"]"#, "identity: is missing, and entries use the claim sub"),
        (r#""topics":[{"topic":"a","when":{"sub":["x"]}}]"#, "identity: is missing"),
        (r#""tables":["a","x*","xy"],"topics":["a","xy"],"read":["xy.*"]"#, "tables[0]: must be a topic"),
        (r#""tables":["xy","x*","ya"],"topics":["x*"]"#, "tables[2]: must be a topic"),
        (r#""tables":["a"],"read":false"#, "tables[0]: must be a topic"),
        (r#""quota":{"sessions":1}"#, "identity: is missing, and a quota needs it"),
        (r#""topics":["a"],"read":["b"]"#, "topics: has no use"),
    ] {
        check(route, want);
    }
    let meant = |entry: &str| format!("{entry}: unknown placeholder, did you mean `${{sub}}`?");
    let long: Vec<String> = (0..150).map(|number| format!("{number}{}", "x".repeat(100))).collect();
    for (keys, want) in [
        (r#""topics":["a.${team}"]"#, "claims: has no team"),
        (r#""read":["a","b.${sub"]"#, "read[1]: a placeholder ends with }"),
        (r#""topics":["orders.{sub}"]"#, &meant("topics[0]")),
        (r#""write":[{"topic":"orders.$sub"}]"#, &meant("write[0]")),
        (r#""topics":[{"topic":"a","only":{"key_prefix":"{sub}:"}}]"#, &meant("topics[0].only")),
        (
            r#""read":["b",{"topic":"a","when":{"role":"admin"}}]"#,
            "read[1].when.role: must be an array of strings",
        ),
        (r#""read":["b",{"topic":"a","only":{"key_prefix":"{sub}:"}}]"#, &meant("read[1].only")),
        (r#""write":[{"topic":"a","if":{}}]"#, "write[0]: unknown field `if`"),
        (r#""write":[7]"#, "write[0]: must be a topic"),
        (r#""write":[]"#, "write: must be topics"),
        (r#""claims":{"team":"team"}"#, "claims: must be an object of paths"),
        (r#""capabilities":[]"#, "capabilities: must be the path"),
        (r#""quota":7"#, "quota: must be an object"),
        (r#""quota":{"sessions":0}"#, "quota.sessions: must be a number from 1 to 4294967295"),
        (r#""quota":{"session":1}"#, "quota.session: unknown key, did you mean `sessions`?"),
        (&format!(r#""topics":{long:?}"#), "topics: must be at most 8192 bytes"),
    ] {
        check(&format!("{JWT},{keys}"), want);
    }
}

#[test]
fn listed_topics_have_tables() {
    let lists = [("sluicegate-topics", "a,b.*"), ("sluicegate-tables", "a,b.*")];
    check(r#""topics":["a","b.*"],"tables":["a","b.*"]"#, &lists);
}
