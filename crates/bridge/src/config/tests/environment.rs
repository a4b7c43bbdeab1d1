//! Keys from environment variables.

use super::*;

#[test]
fn environment_overrides_the_file() {
    let text = format!("listen = \"127.0.0.1:1\"\n{CLUSTER}client.id = \"file\"\n");
    let variables = [
        ("SLUICEGATE_LISTEN", "127.0.0.1:2"),
        ("SLUICEGATE_LIMITS__MAX_SESSIONS", "7"),
        ("SLUICEGATE_CLUSTERS__DEFAULT__BOOTSTRAP_SERVERS", "127.0.0.1:3"),
        ("SLUICEGATE_CLUSTERS__OTHER__METADATA_BROKER_LIST", "127.0.0.1:4"),
        ("PATH", "/bin"),
    ];
    let config = load(&text, &variables).unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:2");
    assert_eq!(config.limits.max_sessions, 7);
    assert_eq!(config.clusters.keys().collect::<Vec<_>>(), ["default", "other"]);
    let shown = format!("{:?}", config.clusters["default"]);
    assert!(shown.contains('3') && !shown.contains("9092"), "{shown}");
}

#[test]
fn unknown_variables_are_reported_and_ignored() {
    let variables = [
        ("SLUICEGATE_HOME", "/opt"),
        ("SLUICEGATE_PORT_7400_TCP_ADDR", "10.0.0.1"),
        ("SLUICEGATE_SERVICE__HOST", "10.0.0.1"),
    ];
    let config = load(CLUSTER, &variables).unwrap();
    let mut names = variables.map(|(name, _)| name);
    names.sort_unstable();
    let mut ignored = config.ignored_variables;
    ignored.sort_unstable();
    assert_eq!(ignored, names);
}

#[test]
fn two_variables_of_one_key_are_a_problem() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "0123456789abcdef").unwrap();
    let path = file.path().to_str().unwrap();
    for (name, value, other) in [
        ("GATEWAY_SECRET", "fedcba9876543210", "GATEWAY_SECRET__FILE"),
        ("LISTEN", "127.0.0.1:1", "Listen"),
        ("CLUSTERS__DEFAULT__CLIENT_ID", "x", "CLUSTERS__DEFAULT__CLIENT_ID__FILE"),
        ("CLUSTERS__DEFAULT__CLIENT_ID", "x", "CLUSTERS__DEFAULT__CLIENT__ID"),
    ] {
        let [name, other] = [name, other].map(|name| format!("SLUICEGATE_{name}"));
        let given =
            [(name.as_str(), value), (other.as_str(), if other.ends_with("FILE") { path } else { value })];
        for [first, last] in [given, [given[1], given[0]]] {
            let problems = load(CLUSTER, &[first, last]).expect_err("a problem");
            let [problem] = &problems[..] else { panic!("{problems:?}") };
            let (place, problem) = problem.split_once(": is set by ").expect(problem);
            let both = [place, problem.strip_suffix(" too: set only one of them").expect(problem)];
            assert!(both.contains(&first.0) && both.contains(&last.0), "{both:?}");
        }
    }
    let text = format!("gateway_secret = {{ file = \"/nowhere\" }}\n{CLUSTER}");
    assert!(load(&text, &[("SLUICEGATE_GATEWAY_SECRET", "fedcba9876543210")]).is_ok());
    assert!(load(&text, &[("SLUICEGATE_GATEWAY_SECRET__FILE", path)]).is_ok());
    assert!(load(CLUSTER, &[("SLUICEGATE_SERVICE", "x"), ("SLUICEGATE_SERVICE__HOST", "y")]).is_ok());
}

#[test]
fn variable_matches_its_cluster_in_any_case() {
    let password = ("SLUICEGATE_CLUSTERS__MY_PROD_1__CLIENT_ID", "from-the-environment");
    for name in ["my_prod_1", "My-Prod-1", "\"my-prod.1\"", "MY_PROD_1"] {
        let text = format!("[clusters.{name}]\nbootstrap.servers = \"a:1\"\n");
        let clusters = load(&text, &[password]).unwrap().clusters;
        assert_eq!(clusters.keys().collect::<Vec<_>>(), [name.trim_matches('"')]);
        assert!(format!("{clusters:?}").contains("from-the-environment"));
    }
}

#[test]
fn mistakes_in_variables_have_their_name() {
    check_each(
        |lines| format!("{lines}{CLUSTER}"),
        r#"
SLUICEGATE_CLUSTERS__DEFAULT__SASL_PASWORD=hidden
SLUICEGATE_CLUSTERS__DEFAULT__SOCKET_TIMEOUT_MS=soon
SLUICEGATE_GATEWAY_SECRET=short
    SLUICEGATE_GATEWAY_SECRET: has 5 characters, expected at least 16
    SLUICEGATE_CLUSTERS__DEFAULT__SASL_PASWORD: is not a librdkafka property, did you mean `sasl.password`?
    SLUICEGATE_CLUSTERS__DEFAULT__SOCKET_TIMEOUT_MS: expected 10 to 300000 milliseconds, got `soon`
SLUICEGATE_LIMITS__MAX_SESSION=5
    SLUICEGATE_LIMITS__MAX_SESSION: is not a key of this configuration, did you mean `limits.max_sessions`?
clusters.My-Prod-1.bootstrap.servers = "a:1"
clusters.my_prod_1.bootstrap.servers = "b:1"
SLUICEGATE_CLUSTERS__MY_PROD_1__CLIENT_ID=x
    SLUICEGATE_CLUSTERS__MY_PROD_1__CLIENT_ID: matches each of [clusters.My-Prod-1] and [clusters.my_prod_1]:
        expected names that differ in more than case, '-', '.' and '_'
SLUICEGATE_CLUSTERS__MY_PROD__SASL_PASSWORD=hidden
SLUICEGATE_CLUSTERS__MY_PROD__SASL_USERNAME=reader
    clusters.my_prod: is set only by variables such as SLUICEGATE_CLUSTERS__MY_PROD__SASL_PASSWORD: expected
        [clusters.my_prod] in the file, or `bootstrap.servers` from the environment too
SLUICEGATE_CLUSTERS__N__KIND=nats
SLUICEGATE_CLUSTERS__N__PASSWORD=hidden
    clusters.n: is set only by variables such as SLUICEGATE_CLUSTERS__N__PASSWORD: expected [clusters.n] in the
        file, or `servers` from the environment too
clusters.a = { kind = "rabbit", queue = 1 }
SLUICEGATE_CLUSTERS__B__KIND=Nats
    clusters.a.kind: is "rabbit", expected "kafka" or "nats"
    SLUICEGATE_CLUSTERS__B__KIND: is "Nats", expected "kafka" or "nats"
"#,
    );
}
