//! Misspelt and misplaced names.

use super::*;

const UNKNOWN: &str = "is not a key of this configuration";

#[test]
fn misspelt_key_gets_a_suggestion() {
    for (text, place, meant) in [
        ("listn = \"127.0.0.1:1\"", "listn", "listen"),
        ("Listen = \"127.0.0.1:1\"", "Listen", "listen"),
        ("[limit]\nmax_sessions = 1", "limit", "limits"),
        ("[limits]\nmax_session = 1", "limits.max_session", "limits.max_sessions"),
        ("[session]\nping_interval = 1", "session.ping_interval", "session.ping_interval_ms"),
        ("[tls]\ncertificat = \"x\"", "tls.certificat", "tls.certificate"),
        // In another table.
        ("max_sessions = 1", "max_sessions", "limits.max_sessions"),
        ("[read]\ndrain_timeout_ms = 1", "read.drain_timeout_ms", "session.drain_timeout_ms"),
        ("[limits]\nlisten = 1", "limits.listen", "listen"),
        ("max_bytes = 1", "max_bytes", "read.max_bytes"),
    ] {
        let problems = load(&format!("{text}\n{CLUSTER}"), &[]).expect_err(text);
        let want = format!("{place}: {UNKNOWN}, did you mean `{meant}`?");
        assert!(problems.contains(&want), "{problems:#?}\n{want}");
    }
}

#[test]
fn misspelt_variable_gets_a_suggestion() {
    for (variable, meant) in [
        ("SLUICEGATE_LISTN", "SLUICEGATE_LISTEN"),
        ("SLUICEGATE_LIMITS_MAX_SESSIONS", "SLUICEGATE_LIMITS__MAX_SESSIONS"),
        ("SLUICEGATE_LIMIT__MAX_SESSIONS", "SLUICEGATE_LIMITS__MAX_SESSIONS"),
        ("SLUICEGATE_MAX_SESSIONS", "SLUICEGATE_LIMITS__MAX_SESSIONS"),
        ("SLUICEGATE_CLUSTERS_DEFAULT_CLIENT_ID", "SLUICEGATE_CLUSTERS__NAME__…"),
    ] {
        let ignored = load(CLUSTER, &[(variable, "1")]).unwrap().ignored_variables;
        assert_eq!(ignored, [format!("{variable} (did you mean {meant}?)")]);
    }
}

#[test]
fn cluster_without_a_name_is_reported_once() {
    check_each(
        |lines| format!("[clusters]\n{lines}"),
        r#"
bootstrap.servers = "a:1"
    clusters: has `bootstrap.servers` without a cluster's name: write [clusters.default], or another name, instead
        of [clusters]
"bootstrap.servers" = "a:1"
client.id = "x"
    clusters: has `bootstrap.servers`, `client.id` without a cluster's name: write [clusters.default], or another
        name, instead of [clusters]
kind = "nats"
servers = "nats://a"
    clusters: has `kind`, `servers` without a cluster's name: write [clusters.default], or another name, instead of
        [clusters]
sasl.password = { file = "/nowhere" }
    clusters: has `sasl.password` without a cluster's name: write [clusters.default], or another name, instead of
        [clusters]
SLUICEGATE_CLUSTERS__BOOTSTRAP_SERVERS=a:1
    SLUICEGATE_CLUSTERS__BOOTSTRAP_SERVERS: names no cluster: expected SLUICEGATE_CLUSTERS__NAME__BOOTSTRAP_SERVERS
"#,
    );
}

#[test]
fn cluster_can_have_the_name_of_a_key() {
    for name in ["debug", "bootstrap", "sasl", "ssl", "kind", "servers"] {
        let text = format!("[clusters.{name}]\nbootstrap.servers = \"a:1\"\n");
        assert!(load(&text, &[]).unwrap().clusters.contains_key(name));
    }
    let text = "[clusters.sasl]\nkind = \"nats\"\nservers = \"nats://a\"\nuser = \"u\"\npassword = \"p\"\n";
    assert!(load(text, &[]).unwrap().clusters.contains_key("sasl"));
    check("[clusters]\ndefault = \"a:1\"\n", &[], &["clusters.default: expected a table", NO_CLUSTER]);
}
