//! The meaning of configurations, and the reports of mistakes in them.

use proptest::prelude::*;
use sluicegate_protocol::http_route::Resource;
use sluicegate_protocol::http_streams::Elements;
use sluicegate_protocol::{HttpCors, HttpProduce, HttpRest, HttpRoute, HttpStreams};

use super::*;

mod clusters;
mod documents;
mod grants;

/// As in Envoy.
fn parse(json: &[u8]) -> Result<Config, Vec<String>> {
    Config::parse(json, || Ok(Host::Envoy))
}

/// As in APISIX.
fn parse_in_apisix(json: &str) -> Result<Config, Vec<String>> {
    Config::parse(json.as_bytes(), || Ok(Host::Apisix))
}

#[track_caller]
fn mistakes(json: &str, want: &[&str]) {
    assert_eq!(parse(json.as_bytes()).expect_err("accepted"), want);
}

#[test]
fn smallest_configuration_has_the_documented_defaults() {
    let config = parse(br#"{"routes":[{"path":"/pubsub"}]}"#).unwrap();
    assert_eq!(config.profile, Profile::Tunnel);
    assert_eq!(config.max_message_bytes, 1_048_576);
    assert_eq!(config.max_assembly_bytes, 67_108_864);
    assert!(config.gateway_secret.is_none());
    let [route] = config.routes.as_slice() else { panic!("{:?}", config.routes) };
    assert_eq!(route.path, "/pubsub");
    assert!(matches!(&route.cluster, ClusterSource::Named(name) if **name == *"default"));
    assert_eq!(route.grant, Grant { read: true, is_unlimited: true, ..Grant::default() });
    let Kind::Pubsub { policy } = &route.kind else { panic!("{route:?}") };
    assert_eq!(policy.origins, None);
    assert_eq!(policy.subprotocols, [""; 0]);
}

#[test]
fn host_is_detected_unless_configured() {
    let host = |json: &str, detected| Config::parse(json.as_bytes(), || detected).map(|config| config.host);
    assert_eq!(host(r#"{"path":"/a"}"#, Ok(Host::Envoy)), Ok(Host::Envoy));
    assert_eq!(host(r#"{"path":"/a"}"#, Ok(Host::Apisix)), Ok(Host::Apisix));
    assert_eq!(host(r#"{"path":"/a","host":"envoy"}"#, Ok(Host::Apisix)), Ok(Host::Envoy));
    assert_eq!(host(r#"{"path":"/a","host":"apisix"}"#, Err("unused".into())), Ok(Host::Apisix));
    assert_eq!(
        host(r#"{"path":"/a"}"#, Err("it is neither".into())),
        Err(vec!["host: must be \"envoy\" or \"apisix\"; it is neither".into()])
    );
    mistakes(r#"{"path":"/a","host":"nginx"}"#, &["host: must be \"envoy\" or \"apisix\""]);
}

#[test]
fn moved_keys_and_removed_values_are_named() {
    mistakes(
        r#"{"path":"/a","bridge":"127.0.0.1:7400","max_body_bytes":1048576,"http_timeout_ms":40000}"#,
        &[
            "bridge: no longer used: the gateway's own route names the bridge as its upstream",
            "max_body_bytes: no longer used: limits.max_request_bytes of the bridge limits bodies",
            "http_timeout_ms: no longer used: the gateway's own route has a timeout",
        ],
    );
    mistakes(
        r#"{"profile":"internal","path":"/a"}"#,
        &["profile: must be \"tunnel\" or \"relay\"; internal was removed"],
    );
}

#[test]
fn single_route_needs_no_array() {
    let config =
        parse_in_apisix(r#"{"gateway_secret":"s3cret-of-the-gateway","cluster":"east","write":true}"#)
            .unwrap();
    let [route] = config.routes.as_slice() else { panic!("{:?}", config.routes) };
    assert!(matches!(&route.cluster, ClusterSource::Named(name) if **name == *"east"));
    assert!(route.grant.write && matches!(route.kind, Kind::Pubsub { .. }));
    for path in [&b"/"[..], b"/pubsub?x", b"*", b"", b"\xff"] {
        check_route(&config, path, Some(""));
    }
    for (json, path, want) in [
        (r#"{"type":"produce","topic":"t"}"#, "/any/path", Some("")),
        (r#"{"type":"rest"}"#, "/topics?x", Some("")),
        (r#"{"type":"rest"}"#, "*", None),
        (r#"{"type":"rest","path":"/kafka"}"#, "/kafka/topics", Some("/kafka")),
        (r#"{"type":"rest","path":"/kafka"}"#, "/topics", None),
        (r#"{"path":"/pubsub"}"#, "/pubsub", Some("/pubsub")),
        (r#"{"path":"/pubsub"}"#, "/other", None),
    ] {
        check_route(&parse(json.as_bytes()).unwrap(), path.as_bytes(), want);
    }
}

#[test]
fn mistakes_in_a_single_route_are_reported_with_their_keys() {
    mistakes(
        r#"{"type":"produce","colour":1,"max_message_bytes":1}"#,
        &[
            "max_message_bytes: must be a number of bytes from 1024 to 16777216",
            "topic: is missing, and overrides does not list \"topic\"",
            "colour: unknown key",
        ],
    );
    mistakes(r#"{"path":""}"#, &["path: must be a string that is not empty"]);
    mistakes(r#"{"routes":[{"path":"/a"}],"cluster":"east"}"#, &["cluster: unknown key"]);
}

#[test]
fn misspelt_key_gets_a_suggestion() {
    let suggestion = |key: &str, meant: &str| format!("{key}: unknown key, did you mean `{meant}`?");
    for (key, meant) in [
        ("orgins", "origins"),
        ("Origins", "origins"),
        ("sub_protocols", "subprotocols"),
        ("paht", "path"),
        ("max_mesage_byte", "max_message_bytes"),
        ("gatewaysecret", "gateway_secret"),
        ("rotes", "routes"),
    ] {
        mistakes(&format!(r#"{{"{key}":1}}"#), &[&suggestion(key, meant)]);
    }
    mistakes(
        r#"{"type":"produce","topic":"t","header_prefix":"x"}"#,
        &[&suggestion("header_prefix", "headerprefix")],
    );
    for other in ["colour", "", "größe", "read_write", &"path".repeat(1000)] {
        mistakes(&format!(r#"{{"{other}":1}}"#), &[&format!("{other}: unknown key")]);
    }
}

#[test]
fn empty_object_is_an_empty_list() {
    let config = parse_in_apisix(r#"{"origins":{},"subprotocols":{}}"#).unwrap();
    let Kind::Pubsub { policy } = &config.routes[0].kind else { panic!("{config:?}") };
    assert_eq!((policy.origins.as_deref(), policy.subprotocols.as_slice()), (Some(&[][..]), &[][..]));
    mistakes(r#"{"path":"/a","origins":{"a":1}}"#, &["origins: must be an array of strings"]);
}

#[test]
fn every_setting_is_read() {
    let config = parse(
        br#"{"profile":"relay","gateway_secret":"s3cret-of-the-gateway","max_message_bytes":4096,
            "max_assembly_bytes":8192,
            "routes":[{"path":"/a","cluster":"east","write":true,"origins":["https://app.example:8443"],
            "subprotocols":["v1"]},
                      {"path":"/b","type":"pubsub"}]}"#,
    )
    .unwrap();
    assert_eq!(config.profile, Profile::Relay);
    assert_eq!(config.gateway_secret.as_ref().map(Secret::expose), Some("s3cret-of-the-gateway"));
    assert_eq!((config.max_message_bytes, config.max_assembly_bytes), (4096, 8192));
    assert!(matches!(&config.routes[0].cluster, ClusterSource::Named(name) if **name == *"east"));
    let metadata: Vec<_> = config.metadata(&config.routes[0]).collect();
    let secret = ("sluicegate-gateway-secret", "s3cret-of-the-gateway");
    let route = ("x-sluicegate-route", "/a");
    assert_eq!(metadata, [route, ("sluicegate-cluster", "east"), ("sluicegate-write", "true"), secret]);
    let Kind::Pubsub { policy } = &config.routes[0].kind else { panic!("{config:?}") };
    assert_eq!(policy.origins.as_deref(), Some(&["https://app.example:8443".to_owned()][..]));
    assert_eq!(policy.subprotocols, ["v1"]);
    assert!(matches!(config.routes[1].kind, Kind::Pubsub { .. }));
    assert!(!format!("{config:?}").contains("s3cret"));
}

/// The only route of a configuration that has this one.
#[track_caller]
pub(super) fn only(route: &str) -> Route {
    let json = format!(r#"{{"routes":[{{"path":"/p/",{route}}}]}}"#);
    let config = parse(json.as_bytes()).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
    config.routes.into_iter().next().unwrap()
}

#[test]
fn every_setting_of_a_produce_route_is_read() {
    let route = only(
        r#""type":"produce","topic":"orders","partition":3,"key":"k","jsonkey":"a.b","headerprefix":"X-Kafka-",
           "overrides":["key","topic"],"recordheaderprefix":"X-Record-","origins":["https://a.example:443"],
           "credentials":true,"cloudevents":true"#,
    );
    assert_eq!(route.path, "/p/");
    let want = HttpProduce {
        topic: "orders".into(),
        partition: Some(3),
        key: Some("k".into()),
        jsonkey: Some("a.b".into()),
        header_prefix: "x-kafka-".into(),
        topic_override: true,
        partition_override: false,
        key_override: true,
        record_header_prefix: "x-record-".into(),
        cloudevents: true,
    };
    let cors = HttpCors { origins: vec!["https://a.example".into()], credentials: true };
    assert_eq!(http(route), (Resource::Produce(want), Some(cors)));
    let want = HttpProduce { topic_override: true, ..HttpProduce::default() };
    assert_eq!(http(only(r#""type":"produce","overrides":["topic"]"#)), (Resource::Produce(want), None));
}

/// The settings that the bridge gets for a route of plain HTTP, without a request's path.
#[track_caller]
fn http(route: Route) -> (Resource, Option<HttpCors>) {
    match route.kind {
        Kind::Http(HttpRoute { resource: Some(resource), cors, path }) if path.is_empty() => (resource, cors),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_setting_of_a_rest_route_is_read() {
    let route = only(r#""type":"rest""#);
    assert_eq!(route.path, "/p");
    assert_eq!(http(route), (Resource::Rest(HttpRest { cloudevents: false }), None));
    let cors = HttpCors { origins: vec!["*".into()], credentials: false };
    let route = only(r#""type":"rest","origins":["*"],"cloudevents":true"#);
    assert_eq!(http(route), (Resource::Rest(HttpRest { cloudevents: true }), Some(cors)));
}

#[test]
fn every_setting_of_a_streams_route_is_read() {
    let streams = |content_type: &str, elements: Elements, public, pack| {
        let elements = elements.into();
        Resource::Streams(HttpStreams { content_type: content_type.to_owned(), elements, public, pack })
    };
    let json = "application/json";
    for (settings, want) in [
        (r#""type":"streams""#, streams(json, Elements::Values, false, false)),
        (r#""type":"streams","elements":"state","public":true"#, streams(json, Elements::State, true, false)),
        (r#""type":"streams","elements":"envelope""#, streams(json, Elements::Envelope, false, false)),
        (r#""type":"streams","pack":true"#, streams(json, Elements::Values, false, true)),
        (
            r#""type":"streams","content_type":"Text/Plain""#,
            streams("text/plain", Elements::Values, false, false),
        ),
    ] {
        assert_eq!(http(only(settings)), (want, None));
    }
    mistakes(
        r#"{"routes":[{"path":"/a","type":"streams","content_type":"text/plain; charset=utf-8","elements":"values"},
                      {"path":"/b","type":"streams","elements":"records"},
                      {"path":"/c","type":"streams","public":true,"topics":["a.${sub}"],
                       "identity":{"from":"token","name":"a"}},
                      {"path":"/d","type":"streams","elements":"state","pack":true}]}"#,
        &[
            "routes[0].content_type: must be a media type without parameters, such as \"application/json\"",
            "routes[0].elements: needs the content_type \"application/json\"",
            "routes[1].elements: must be \"values\", \"envelope\" or \"state\"",
            "routes[2].public: must be false on a route with rights of people: caches would give one's records to others",
            "routes[3].pack: needs the content_type \"application/json\" and the elements \"values\"",
        ],
    );
}

/// The path has this route, or none.
#[track_caller]
fn check_route(config: &Config, path: &[u8], want: Option<&str>) {
    assert_eq!(config.route(path).map(|route| route.path.as_str()), want, "{}", path.escape_ascii());
}

#[test]
fn path_is_matched_whole_without_its_query() {
    let config = parse(br#"{"routes":[{"path":"/a"},{"path":"/b","type":"produce","topic":"t"}]}"#).unwrap();
    check_route(&config, b"/a", Some("/a"));
    check_route(&config, b"/b?x=\xff", Some("/b"));
    check_route(&config, b"/b#x?y", Some("/b"));
    let others = "/ /a/ /b/x /ab ?/a /A /%61 //a /./a /x/../a /x?/a".split(' ').map(str::as_bytes);
    for other in others.chain([&b""[..], b"\xff"]) {
        check_route(&config, other, None);
    }
}

#[test]
fn rest_path_is_matched_by_prefix_after_whole_paths() {
    let config = parse(
        br#"{"routes":[{"path":"/k/","type":"rest"},{"path":"/k/deep","type":"rest"},{"path":"/k/deep/whole"}]}"#,
    )
    .unwrap();
    for path in [&b"/k"[..], b"/k/", b"/k?x", b"/k#x", b"/k/topics", b"/k/deeper", b"/k/dee", b"/k/?/k/deep"]
    {
        check_route(&config, path, Some("/k"));
    }
    for path in [&b"/k/deep"[..], b"/k/deep/", b"/k/deep/whole/", b"/k/deep/x?y"] {
        check_route(&config, path, Some("/k/deep"));
    }
    check_route(&config, b"/k/deep/whole?x", Some("/k/deep/whole"));
    for path in [&b"/"[..], b"/kk", b"/kk/topics", b""] {
        check_route(&config, path, None);
    }
    let all = parse(br#"{"routes":[{"path":"/","type":"rest"},{"path":"/a"}]}"#).unwrap();
    check_route(&all, b"/", Some(""));
    check_route(&all, b"/topics", Some(""));
    check_route(&all, b"/a", Some("/a"));
    assert_eq!(all.routes[0].rest(b"/topics?x"), Some(&b"/topics?x"[..]));
}

#[test]
fn all_mistakes_are_reported_at_once_with_their_keys() {
    mistakes(
        r#"{"profile":"sidecar","gateway_secret":"a b","max_message_bytes":0,"max_assembly_bytes":"x","colour":1,
            "routes":[{"path":"pubsub","cluster":"ü"},{"cluster":7,"origins":"*","subprotocols":[1]},
                      {"path":"/a?b","origins":["app.example","https://a/b"],"port":1},7,
                      {"path":"/sluicegate.v1.Bridge/Session"},{"path":"/x"},{"path":"/x","subprotocols":["a b"]},
                      {"path":"/a/*"}]}"#,
        &[
            "profile: must be \"tunnel\" or \"relay\"",
            "gateway_secret: must be at least 16 visible ASCII characters, as in the bridge",
            "max_message_bytes: must be a number of bytes from 1024 to 16777216",
            "max_assembly_bytes: must be a number of bytes from 1024 to 536870912",
            "routes[0].path: must begin with \"/\" and be visible ASCII, without a query",
            "routes[0].cluster: must be 1 to 100 letters, digits, '.', '_' and '-', as in the bridge",
            "routes[1].path: is missing; a path such as \"/pubsub\"",
            "routes[1].cluster: must be a string that is not empty",
            "routes[1].origins: must be an array of strings",
            "routes[1].subprotocols: must be an array of strings",
            "routes[2].path: must begin with \"/\" and be visible ASCII, without a query",
            "routes[2].origins: must be origins such as \"https://app.example\": scheme, host and port only",
            "routes[2].port: unknown key",
            "routes[3]: must be an object",
            "routes[4].path: must not begin with /sluicegate.v1., which is the bridge's own",
            "routes[6].subprotocols: must be HTTP tokens",
            "routes[6].path: is already the path of another route",
            "routes[7].path: must not have \"*\": a route takes its own path, and with the type \"rest\" all below it",
            "colour: unknown key",
        ],
    );
}

#[test]
fn mistakes_in_http_routes_are_reported_with_their_keys() {
    mistakes(
        r#"{"routes":[{"path":"/a","type":"http"},{"path":"/b","type":"produce","write":true},
                      {"path":"/c","type":"produce","topic":"a b","partition":-2,"key":7,"jsonkey":"",
                      "headerprefix":"a b",
                       "recordheaderprefix":"ü","overrides":["offset"],"origins":["*"],"credentials":true},
                      {"path":"/d","type":"rest","topic":"t","origins":["*","https://a.example"]},
                      {"path":"/d/","type":"rest","credentials":true},{"path":"/e","type":"rest",
                      "origins":["app.example"]},
                      {"path":"/","type":"rest"},{"path":"/","type":"rest"},
                      {"path":"/f","type":"produce","topic":"..","partition":2147483648,"overrides":[1]}]}"#,
        &[
            "routes[0].type: must be \"pubsub\", \"produce\", \"rest\" or \"streams\"",
            "routes[1].topic: is missing, and overrides does not list \"topic\"",
            "routes[1].write: unknown key",
            "routes[2].overrides: must be an array of \"topic\", \"partition\" and \"key\"",
            "routes[2].topic: must be 1 to 249 letters, digits, '.', '_' and '-', as in Kafka",
            "routes[2].headerprefix: must be an HTTP token",
            "routes[2].recordheaderprefix: must be an HTTP token",
            "routes[2].partition: must be a number from -1 to 2147483647",
            "routes[2].key: must be a string that is not empty",
            "routes[2].jsonkey: must be a string that is not empty",
            "routes[2].credentials: must be false with the origin \"*\"",
            "routes[3].origins: must be the only origin if it is \"*\"",
            "routes[3].topic: unknown key, did you mean `topics`?",
            "routes[4].credentials: needs origins",
            "routes[4].path: is already the path of another route",
            "routes[5].origins: must be origins such as \"https://app.example\": scheme, host and port only",
            "routes[7].path: is already the path of another route",
            "routes[8].overrides: must be an array of strings",
            "routes[8].topic: must be 1 to 249 letters, digits, '.', '_' and '-', as in Kafka",
            "routes[8].partition: must be a number from -1 to 2147483647",
        ],
    );
}

#[test]
fn invalid_jsonkey_is_reported_with_its_reason() {
    mistakes(
        r##"{"routes":[{"path":"/a","type":"produce","topic":"t","jsonkey":"a|b"},
                       {"path":"/b","type":"produce","topic":"t","jsonkey":"#(x==1).y"}]}"##,
        &[
            "routes[0].jsonkey: must be a path in gjson's syntax: `|` is a pipe, which is not supported: write `\\|` \
             where it is part of a name",
            "routes[1].jsonkey: must be a path in gjson's syntax: `#` is a query, which is not supported: write `\\#` \
             where it is part of a name",
        ],
    );
}

#[test]
fn repeated_keys_are_rejected_at_every_depth() {
    mistakes(
        r#"{"routes":[{"path":"/a"},{"path":"/b","type":"rest","write":true,"kafka":{"nodes":["a:1"],
            "tls":{"verify":true,"verify":true}},"write":false}],
            "profile":"tunnel","profile":"tunnel","profile":"relay"}"#,
        &[
            "routes[1].kafka.tls.verify: given twice",
            "routes[1].write: given twice",
            "profile: given twice",
            "profile: given twice",
        ],
    );
    let escaped = r#"{"path":"/a","cluster":"a","\u0063luster":"b","host":"nginx"}"#;
    mistakes(escaped, &["cluster: given twice", "host: must be \"envoy\" or \"apisix\""]);
    let nodes = r#"{"kafka":{"nodes":[{"host":"a","port":1,"port":2}]},"routes":[],"routes":[]}"#;
    assert!(parse(nodes.as_bytes()).unwrap_err().contains(&"kafka.nodes[0].port: given twice".to_owned()));
    mistakes(r#"[{"a":1,"a":2}]"#, &["must be a JSON object"]);
}

#[test]
fn invalid_json_and_missing_routes_are_reported() {
    mistakes("", &["invalid JSON: EOF while parsing a value at line 1 column 0"]);
    mistakes("[]", &["must be a JSON object"]);
    let routes = "routes: must be an array of at least one route; a single route can be configured without it, such as \
                  by \"type\": \"pubsub\"";
    for none in
        ["{}", r#"{"routes":[]}"#, r#"{"routes":{}}"#, r#"{"gateway_secret":"s3cret-of-the-gateway"}"#]
    {
        mistakes(none, &[routes]);
    }
    mistakes(
        r#"{"max_message_bytes":4096,"max_assembly_bytes":2048,"routes":[{"path":"/a"}]}"#,
        &["max_assembly_bytes: must be at least max_message_bytes (4096)"],
    );
}

/// One invariant, for every input: a mistake is told, or the configuration can be used.
fn check(json: &[u8], host: Host) {
    match Config::parse(json, || Ok(host)) {
        Err(mistakes) => assert!(!mistakes.is_empty()),
        Ok(config) => {
            assert!(!config.routes.is_empty());
            assert!(config.max_message_bytes <= config.max_assembly_bytes);
            for route in &config.routes {
                let path = if route.path.is_empty() { "/" } else { &route.path };
                assert!(std::ptr::eq(config.route(path.as_bytes()).unwrap(), route));
                clusters::check(&route.cluster);
            }
        }
    }
}

/// A documented configuration, with some of its values replaced, mostly by those of other keys.
fn json() -> impl Strategy<Value = Value> {
    let documented: Vec<Value> =
        documents::configurations().iter().map(|json| serde_json::from_str(json).unwrap()).collect();
    let mut parts = vec![Value::Null, Value::from("ü"), Value::from(-1), Value::from(1_u64 << 31)];
    documented.iter().for_each(|value| collect(value, &mut parts));
    let replaced = (any::<prop::sample::Index>(), prop::sample::select(parts));
    (prop::sample::select(documented), prop::collection::vec(replaced, 0..4)).prop_map(
        |(mut json, replaced)| {
            for (at, part) in replaced {
                let mut parts = Vec::new();
                collect(&json, &mut parts);
                replace(&mut json, &mut at.index(parts.len()), &part);
            }
            json
        },
    )
}

/// A value and all that it consists of, in order.
fn collect(value: &Value, parts: &mut Vec<Value>) {
    parts.push(value.clone());
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, parts)),
        Value::Object(members) => members.values().for_each(|member| collect(member, parts)),
        _ => {}
    }
}

/// Replaces the part at this place in the order of [`collect`].
fn replace(value: &mut Value, at: &mut usize, new: &Value) -> bool {
    if *at == 0 {
        *value = new.clone();
        return true;
    }
    *at -= 1;
    match value {
        Value::Array(items) => items.iter_mut().any(|item| replace(item, at, new)),
        Value::Object(members) => members.values_mut().any(|member| replace(member, at, new)),
        _ => false,
    }
}

proptest! {
    // Some seconds without optimisation. Any bytes are for the fuzz target `filter_config`.
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn any_json_is_used_or_rejected_with_mistakes(value in json()) {
        check(value.to_string().as_bytes(), Host::Envoy);
        check(value.to_string().as_bytes(), Host::Apisix);
    }
}
