//! `sluicegate check-routes`.

use crate::program::{feed, run};

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
        (
            "a: 1\n  value: |\n    {\n      \"routes\": []\n    }\nb: |\n  {",
            &["-:2: routes: must be an array"],
        ),
        ("value: |\n  text\n", &["-: expected the filter's JSON, an array of its routes, or"]),
        ("", &["-: expected the filter's JSON"]),
    ] {
        let checked = feed("", "check-routes -", input).await;
        assert_eq!((checked.code, &*checked.stdout), (Some(1), ""), "{input}: {checked:?}");
        assert_eq!(checked.stderr.lines().count(), mistakes.len(), "{checked:?}");
        for (line, mistake) in checked.stderr.lines().zip(mistakes) {
            assert!(line.starts_with(&format!("sluicegate: {mistake}")), "{line}");
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
    let envoy = concat!(env!("CARGO_MANIFEST_DIR"), "/../../envoy/tunnel.yaml");
    let checked = run("", &format!("check-routes {envoy} -q")).await;
    assert!(checked.code == Some(0) && checked.stdout.ends_with(": 1 valid route: /pubsub\n"), "{checked:?}");
}
