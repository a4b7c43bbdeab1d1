//! `sluicegate check-routes`.

use super::*;

#[tokio::test]
async fn mistakes_are_named_with_their_keys() {
    for (input, mistakes) in [
        (
            r#"{"routes": [{"path": "/a", "orgins": []}, {"path": "b", "write": 1}]}"#,
            &[
                "-: routes[0].orgins: unknown key, did you mean `origins`?",
                "-: routes[1].path: must begin with \"/\" and be visible ASCII, without a query",
                "-: routes[1].write: must be true, false or an array of topics",
            ][..],
        ),
        (r#"[{"cluster": "a"}]"#, &["-: routes[0].path: is missing; a path such as \"/pubsub\""]),
        ("{\"routes\": [}", &["-: invalid JSON: expected value at line 1 column 13"]),
        ("pluginConfig:\n  routes: []\nb: |\n  {", &["-:2: routes: must be an array"]),
        ("value: |\n  text\n", &["-: expected the filter's JSON, an array of its routes, or"]),
        ("a: {", &["-: invalid YAML: "]),
        ("a: s3cret\na: s3cret", &["-: invalid YAML: "]),
        ("", &["-: expected the filter's JSON"]),
    ] {
        let checked = feed("", "check-routes -", input).await;
        assert_eq!((checked.code, &*checked.stdout), (Some(1), ""), "{input}: {checked:?}");
        assert_eq!(checked.stderr.lines().count(), mistakes.len(), "{checked:?}");
        for (line, mistake) in checked.stderr.lines().zip(mistakes) {
            let start = format!("sluicegate: {mistake}");
            assert!(line.starts_with(&start) && !line.contains("s3cret"), "{line}");
        }
    }
    let missing = run("", "check-routes /nowhere/routes.json").await;
    missing.tells(2, "", &["sluicegate: failed to read /nowhere/routes.json: No such file"]);
}

#[tokio::test]
async fn valid_routes_are_listed_and_doubtful_ones_warned_of() {
    let topics = r#"[{"path": "/a", "topics": ["x"]}, {"path": "/b", "topics": ["x"]}]"#;
    feed("", "check-routes -", topics).await.is(0, "-: 2 valid routes: /a, /b\n", "");
    let all =
        r#"{"path": "/a", "write": true, "identity": {"from": "consumer", "trust_consumer_headers": true}}"#;
    let warned = feed("", "check-routes - --host apisix", all).await;
    warned.tells(
        0,
        "-: 1 valid route: /a\n",
        &["% -: routes without \"topics\"", "% -: routes without \"origins\""],
    );
    feed("", "-q check-routes - --host apisix", all).await.is(0, "-: 1 valid route: /a\n", "");
    feed("", "check-routes -", all).await.tells(1, "", &["from: "]);
}

/// The filter's configuration as each gateway takes it: as an object, or as JSON in a string.
#[tokio::test]
async fn routes_are_found_in_the_yaml_of_gateways() {
    let string = "'@type': type.googleapis.com/google.protobuf.StringValue";
    let object = "'@type': type.googleapis.com/google.protobuf.Struct";
    let route = r#"{"routes": [{"path": "/a", "topics": ["x"]}]}"#;
    for (yaml, places) in [
        (format!("configuration:\n  {string}\n  value: |\n    {route}\n"), &["-:4"][..]),
        (format!("configuration:\n  {string}\n  value: '{route}'\n"), &["-:3"]),
        (
            format!("a:\n- configuration:\n    value: '{route}'\n    {string}\n- pluginConfig: {route}"),
            &["-:3", "-:5"],
        ),
        (
            format!("wasm:\n- config:\n    routes:\n    - path: /a\n      topics: [x]\n---\nconf: {route}"),
            &["-:3", "-:7"],
        ),
        (
            format!(
                r#"{{"static_resources": {{"configuration": {{{}, "value": {route:?}}}}}}}"#,
                string.replace('\'', "\"")
            ),
            &["-:1"],
        ),
        ("routes:\n- path: /a\n  topics: [x]\n".to_owned(), &["-"]),
    ] {
        let want: String = places.iter().map(|place| format!("{place}: 1 valid route: /a\n")).collect();
        feed("", "check-routes -", &yaml).await.is(0, &want, "");
    }
    for configuration in [format!("{object}\n  value: {route}"), format!("{string}\n  value: {route}")] {
        let checked = feed("", "check-routes -", &format!("configuration:\n  {configuration}\n")).await;
        checked.tells(1, "", &["in the `value` of a google.protobuf.StringValue"]);
    }
    for (file, routes) in [
        ("envoy/tunnel.yaml", "/pubsub"),
        ("deploy/envoy-gateway/sluicegate.yaml", "/pubsub, /produce, /kafka"),
    ] {
        let path = format!("{}/../../{file}", env!("CARGO_MANIFEST_DIR"));
        let checked = run("", &format!("check-routes {path} -q")).await;
        assert!(checked.code == Some(0) && checked.stdout.contains(routes), "{checked:?}");
    }
}
