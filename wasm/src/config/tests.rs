//! What configurations mean, and what is said about mistakes in them.

use proptest::prelude::*;

use super::*;

#[track_caller]
fn mistakes(json: &str, want: &[&str]) {
    assert_eq!(Config::parse(json.as_bytes()).expect_err("accepted"), want);
}

#[test]
fn the_smallest_configuration_has_the_documented_defaults() {
    let config = Config::parse(br#"{"routes":[{"path":"/pubsub"}]}"#).unwrap();
    assert_eq!(config.profile, Profile::Tunnel);
    assert_eq!(config.max_message_bytes, 1_048_576);
    assert_eq!(config.max_assembly_bytes, 67_108_864);
    assert!(config.gateway_secret.is_none());
    let [route] = config.routes.as_slice() else { panic!("{:?}", config.routes) };
    assert_eq!((route.path.as_str(), route.cluster.as_str()), ("/pubsub", "default"));
    assert!(!route.write);
    assert_eq!(route.policy.origins, None);
    assert_eq!(route.policy.subprotocols, [""; 0]);
}

#[test]
fn every_setting_is_read() {
    let config = Config::parse(
        br#"{"profile":"internal","gateway_secret":"s3cret-of-the-gateway","max_message_bytes":4096,"max_assembly_bytes":8192,
            "routes":[{"path":"/a","cluster":"east","write":true,"origins":["https://app.example:8443"],"subprotocols":["v1"]},
                      {"path":"/b"}]}"#,
    )
    .unwrap();
    assert_eq!(config.profile, Profile::Internal);
    assert_eq!(config.gateway_secret.as_ref().map(Secret::expose), Some("s3cret-of-the-gateway"));
    assert_eq!((config.max_message_bytes, config.max_assembly_bytes), (4096, 8192));
    assert_eq!(config.routes[0].cluster, "east");
    assert_eq!((config.routes[0].write, config.routes[1].write), (true, false));
    assert_eq!(
        config.routes[0].policy.origins.as_deref(),
        Some(&["https://app.example:8443".to_owned()][..])
    );
    assert_eq!(config.routes[0].policy.subprotocols, ["v1"]);
    assert!(!format!("{config:?}").contains("s3cret"));
}

#[test]
fn a_path_is_matched_whole_and_without_its_query() {
    let config = Config::parse(br#"{"routes":[{"path":"/a"},{"path":"/b"}]}"#).unwrap();
    let found = |path: &[u8]| config.route(path).map(|route| route.path.as_str());
    assert_eq!(found(b"/a"), Some("/a"));
    assert_eq!(found(b"/b?x=\xff"), Some("/b"));
    assert_eq!(found(b"/b#x?y"), Some("/b"));
    for other in [&b"/"[..], b"/a/", b"/ab", b"", b"?/a", b"/A", b"\xff"] {
        assert_eq!(found(other), None);
    }
}

#[test]
fn all_mistakes_are_told_at_once_each_with_its_key() {
    mistakes(
        r#"{"profile":"sidecar","gateway_secret":"a b","max_message_bytes":0,"max_assembly_bytes":"x","colour":1,
            "routes":[{"path":"pubsub","cluster":"ü"},{"cluster":7,"origins":"*","subprotocols":[1]},
                      {"path":"/a?b","origins":["app.example","https://a/b"],"port":1},7,
                      {"path":"/sluicegate.v1.Bridge/Session"},{"path":"/x"},{"path":"/x","subprotocols":["a b"]}]}"#,
        &[
            "profile: \"tunnel\" or \"internal\" is expected",
            "gateway_secret: at least 16 visible ASCII characters are expected, as in the bridge",
            "max_message_bytes: a number of bytes from 1024 to 16777216 is expected",
            "max_assembly_bytes: a number of bytes from 1024 to 536870912 is expected",
            "routes[0].path: a path that begins with \"/\", in visible ASCII and without a query, is expected",
            "routes[0].cluster: 1 to 100 letters, digits, '.', '_' and '-' are expected, as in the bridge",
            "routes[1].path: a path such as \"/pubsub\" is expected",
            "routes[1].cluster: a string that is not empty is expected",
            "routes[1].origins: an array of strings is expected",
            "routes[1].subprotocols: an array of strings is expected",
            "routes[2].path: a path that begins with \"/\", in visible ASCII and without a query, is expected",
            "routes[2].origins: origins such as \"https://app.example\" are expected: scheme, host and port alone",
            "routes[2].port: unknown key",
            "routes[3]: an object is expected",
            "routes[4].path: no path under /sluicegate.v1. is expected: it is the bridge's own",
            "routes[6].subprotocols: HTTP tokens are expected",
            "routes[6].path: a path that no other route has is expected",
            "colour: unknown key",
        ],
    );
}

#[test]
fn what_is_no_configuration_at_all_is_told_as_such() {
    mistakes("", &["not JSON: EOF while parsing a value at line 1 column 0"]);
    mistakes("[]", &["a JSON object is expected"]);
    mistakes("{}", &["routes: an array of at least one route is expected"]);
    mistakes(r#"{"routes":[]}"#, &["routes: an array of at least one route is expected"]);
    mistakes(
        r#"{"max_message_bytes":4096,"max_assembly_bytes":2048,"routes":[{"path":"/a"}]}"#,
        &["max_assembly_bytes: at least max_message_bytes (4096) is expected"],
    );
}

/// One invariant, for every input: a mistake is told, or the configuration can be used.
fn check(json: &[u8]) {
    match Config::parse(json) {
        Err(mistakes) => assert!(!mistakes.is_empty()),
        Ok(config) => {
            assert!(!config.routes.is_empty());
            assert!(config.max_message_bytes <= config.max_assembly_bytes);
            for route in &config.routes {
                assert!(std::ptr::eq(config.route(route.path.as_bytes()).unwrap(), route));
            }
        }
    }
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0_u64..1 << 31).prop_map(Value::from),
        prop::sample::select(vec!["/pubsub", "/a", "tunnel", "internal", "https://a.example", "", "ü"])
            .prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
    ];
    let key = prop::sample::select(vec![
        "profile",
        "gateway_secret",
        "max_message_bytes",
        "max_assembly_bytes",
        "routes",
        "path",
        "cluster",
        "origins",
        "subprotocols",
        "other",
    ]);
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(key.clone(), inner, 0..6).prop_map(|map| Value::Object(
                map.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
            )),
        ]
    })
}

proptest! {
    // About ten seconds without optimisation, both together: this is the configuration's fuzz test.
    #![proptest_config(ProptestConfig::with_cases(120_000))]

    #[test]
    fn any_json_is_used_or_its_mistakes_are_told(value in json()) {
        check(value.to_string().as_bytes());
    }

    #[test]
    fn any_bytes_are_used_or_their_mistakes_are_told(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        check(&bytes);
    }
}
