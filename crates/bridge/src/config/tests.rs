//! Whole configurations: accepted ones, and every problem of one that is not.

mod documents;
mod environment;
mod nats;
mod suggestions;

use std::io::Write;

use super::*;

const CLUSTER: &str = "[clusters.default]\nbootstrap.servers = \"127.0.0.1:9092\"\n";

const VALUE: &str = "expected a string, a number, a boolean or { file = \"…\" }";

pub(super) fn load(text: &str, variables: &[(&str, &str)]) -> Result<Config, Vec<String>> {
    let variables = variables.iter().map(|&(name, value)| (name.into(), value.into()));
    Config::load(text, variables).map_err(|all| all.iter().map(Problem::to_string).collect())
}

#[track_caller]
pub(super) fn check(text: &str, variables: &[(&str, &str)], want: &[&str]) {
    assert_eq!(load(text, variables).expect_err("problems"), want, "{text}");
}

#[test]
fn only_a_cluster_is_required() {
    let config = load(CLUSTER, &[]).unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:7400");
    assert_eq!(config.admin_listen.to_string(), "127.0.0.1:7401");
    assert!(config.gateway_secret.is_none() && config.tls.is_none());
    assert_eq!(config.log_format, LogFormat::Text);
    assert_eq!(config.limits.session_answer_bytes, 1 << 20);
    assert_eq!(config.session.ping_interval, Duration::from_secs(30));
    assert_eq!(config.read.max_bytes, 256 * 1024);
    assert_eq!(config.read.cache_bytes, 64 * 1024 * 1024);
    assert_eq!(config.read.cache_age, Duration::from_secs(30));
    assert_eq!(config.read.wait, Duration::from_millis(100));
}

#[test]
fn revocations_and_claims_have_their_files_and_topics() {
    let audit = load(&format!("[audit]\nfile = \"/dev/stdout\"\nclaims = [\"email\"]\n{CLUSTER}"), &[]);
    assert!(audit.unwrap().audit.claims.contains("email"));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, "{\"jti\": \"t\", \"until\": 9}\n").unwrap();
    let tables = format!("{CLUSTER}[revocation]\nlist_file = {:?}\n", file.path());
    assert_eq!(load(&tables, &[]).unwrap().revocation.listed.len(), 1);
    std::fs::write(&file, "\nx\n").unwrap();
    let problem = load(&tables, &[]).unwrap_err().remove(0);
    assert!(problem.starts_with("revocation.list_file: ") && problem.contains("line 2: "), "{problem}");
    let topic = load(&format!("{CLUSTER}[revocation]\ntopic = \"t\"\n"), &[]).unwrap().revocation.topic;
    assert_eq!(topic, Some(RevocationTopic { name: "t".into(), cluster: "default".into() }));
}

/// In front of a cluster of Kafka and one of NATS.
#[test]
fn each_mistake_is_one_problem() {
    let clusters = format!("{CLUSTER}[clusters.n]\nkind = \"nats\"\nservers = \"nats://127.0.0.1\"\n");
    let of_kafka = "expected the NAME of a [clusters.NAME] of Kafka";
    let collector = "expected http://HOST:PORT of a collector";
    let window = "expected limits.stream_window_bytes times limits.max_streams to be at most";
    let secret = "set `gateway_secret` or `tls.client_ca`";
    for (lines, want) in [
        ("[audit]\nclaims = [\"email\"]", "audit.claims: is set without audit.file: set both".to_owned()),
        ("[revocation]\ntopic = \"t*\"", "revocation.topic: expected the name of a topic".to_owned()),
        (
            "[revocation]\ncluster = \"default\"",
            "revocation.cluster: is set without revocation.topic: set both".to_owned(),
        ),
        ("[revocation]\ntopic = \"t\"\ncluster = \"x\"", format!("revocation.cluster: is \"x\", {of_kafka}")),
        ("[revocation]\ntopic = \"t\"\ncluster = \"n\"", format!("revocation.cluster: is \"n\", {of_kafka}")),
        (
            "[traces]\nendpoint = \"http://me:secret@h:4317\"",
            format!("traces.endpoint: is a URL with credentials, {collector}"),
        ),
        ("[traces]\nendpoint = \"h:1\"", format!("traces.endpoint: is \"h:1\", {collector}")),
        (
            "listen = \"127.0.0.1:7401\"",
            "admin_listen: is 127.0.0.1:7401, as is `listen`: expected another port".to_owned(),
        ),
        (
            "listen = \"0.0.0.0:7400\"\nadmin_listen = \"0.0.0.0:7401\"",
            format!("listen: 0.0.0.0:7400 is not a loopback address: {secret}"),
        ),
        (
            "[write]\nclusters = [\"other\"]",
            "write.clusters: has \"other\", expected the NAME of a [clusters.NAME]".to_owned(),
        ),
        (
            "[write]\nclusters = [\"defualt\"]",
            "write.clusters: has \"defualt\", did you mean \"default\"?".to_owned(),
        ),
        (
            "[limits]\nmax_streams = 16385",
            format!("limits.max_streams: is 16385, {window} 1073741824, not 1073807360"),
        ),
        (
            "[limits]\nmax_streams = 2000\nconnection_window_bytes = 67108864",
            format!("limits.max_streams: is 2000, {window} 67108864, not 131072000"),
        ),
        (
            "[limits]\nsession_answer_bytes = 65536\n[read]\nmax_bytes = 65537",
            "read.max_bytes: is 65537, expected at most limits.session_answer_bytes (65536)".to_owned(),
        ),
        (
            "colour = 1",
            "colour: is not a key of this configuration, see docs/reference/bridge-configuration.md"
                .to_owned(),
        ),
    ] {
        check(&format!("{lines}\n{clusters}"), &[], &[&want]);
    }
    check("", &[], &[NO_CLUSTER]);
    for valid in [
        "listen = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"",
        "listen = \"0.0.0.0:7400\"\ngateway_secret = \"0123456789abcdef\"",
        "listen = \"[::1]:7400\"",
        "[limits]\nmax_streams = 16384",
        "[write]\nclusters = [\"n\"]",
        "[limits]\nsession_answer_bytes = 65536\n[read]\nmax_bytes = 65536",
    ] {
        load(&format!("{valid}\n{clusters}"), &[]).expect(valid);
    }
}

#[test]
fn example_has_the_defaults() {
    let example = load(include_str!("../../example.toml"), &[]).unwrap();
    let default = load("[clusters.default]\nbootstrap.servers = \"127.0.0.1:9092\"", &[]).unwrap();
    assert_eq!(format!("{example:#?}"), format!("{default:#?}"));
}

#[test]
fn all_problems_are_reported_with_their_key() {
    let text = r#"
        listen = "localhost"
        gateway_secret = "short"
        log_format = "xml"
        colour = "red"
        [limits]
        max_sessions = 0
        max_request_bytes = "1 MiB"
        max_session = 5
        [session]
        ping_interval_ms = -1
        [read]
        max_bytes = 9_999_999_999
        [tls]
        key = "/nowhere/key.pem"
        [clusters.a]
        client.id = "x"
        [clusters."b c"]
        [clusters.d]
        "bootstrap.servers" = "127.0.0.1:1"
        bootstrap.servers = "127.0.0.1:2"
        linger.ms = []
    "#;
    let expected = "expected a whole number from";
    let problems = load(text, &[("SLUICEGATE_READ__WAIT_MS", "soon")]).expect_err("problems");
    let want = [
        "listen: is \"localhost\", expected an IP address and a port, such as \"127.0.0.1:7400\"".to_owned(),
        "gateway_secret: has 5 characters, expected at least 16".to_owned(),
        "tls.certificate: is missing, expected the path of a file".to_owned(),
        "tls.key: /nowhere/key.pem: ".to_owned(),
        "log_format: is \"xml\", expected \"text\" or \"json\"".to_owned(),
        format!("limits.max_sessions: is 0, {expected} 1 to 1000000"),
        format!("limits.max_request_bytes: is \"1 MiB\", {expected} 1024 to 67108864"),
        "limits.max_session: is not a key of this configuration".to_owned(),
        format!("session.ping_interval_ms: is -1, {expected} 100 to 3600000"),
        format!("read.max_bytes: is 9999999999, {expected} 1024 to 67108864"),
        format!("SLUICEGATE_READ__WAIT_MS: is \"soon\", {expected} 0 to 30000"),
        "clusters.a.bootstrap.servers: ".to_owned(),
        "clusters.b c: expected a name of 1 to 100 letters, digits, '.', '_' and '-'".to_owned(),
        "clusters.b c.bootstrap.servers: is required".to_owned(),
        "clusters.d.bootstrap.servers: is given twice".to_owned(),
        format!("clusters.d.linger.ms: is of type array, {VALUE}"),
        "colour: is not a key of this configuration".to_owned(),
    ];
    for (problem, want) in problems.iter().zip(&want) {
        assert!(problem.starts_with(want), "{problem}\n{want}");
    }
    assert_eq!(problems.len(), want.len(), "{problems:#?}");
}

#[test]
fn invalid_toml_is_reported_in_one_line() {
    let variables = [("SLUICEGATE_LOG_FORMAT", "xml"), ("SLUICEGATE_LISTEN", "0.0.0.0:7400")];
    let log_format = "SLUICEGATE_LOG_FORMAT: is \"xml\", expected \"text\" or \"json\"";
    for (text, place) in [
        ("listen = ", "line 1, column 10"),
        ("# ä\nlog_format = \"text\"\ngateway_secret = \"not to be told", "line 3, column "),
        ("[clusters.default]\nclient.id = 1\nclient.id = 2\n", "line 3, column 8"),
    ] {
        let problems = load(text, &variables).expect_err("problems");
        assert!(problems[0].starts_with(&format!("not TOML: {place}")), "{problems:?}");
        assert!(!problems[0].contains("told") && problems[0].lines().count() == 1, "{problems:?}");
        assert_eq!(problems[1..], [log_format], "{text}");
    }
}

#[test]
fn problems_of_variables_have_their_name() {
    let variables = [
        ("SLUICEGATE_CLUSTERS__DEFAULT__SASL_PASWORD", HIDDEN),
        ("SLUICEGATE_CLUSTERS__DEFAULT__SOCKET_TIMEOUT_MS", "soon"),
        ("SLUICEGATE_GATEWAY_SECRET", "short"),
    ];
    let problems = [
        "SLUICEGATE_GATEWAY_SECRET: has 5 characters, expected at least 16",
        "SLUICEGATE_CLUSTERS__DEFAULT__SASL_PASWORD: is not a librdkafka property, did you mean `sasl.password`?",
        "SLUICEGATE_CLUSTERS__DEFAULT__SOCKET_TIMEOUT_MS: expected 10 to 300000 milliseconds, got `soon`",
    ];
    check(CLUSTER, &variables, &problems);
}

pub(super) const NO_CLUSTER: &str = "clusters: is empty, expected at least one [clusters.NAME] in the file of \
                                     --config, or SLUICEGATE_CLUSTERS__NAME__BOOTSTRAP_SERVERS";

#[test]
fn open_address_beyond_loopback_needs_authentication_whatever_listen_says() {
    let load = |keys: &str| load(&format!("{keys}\n{CLUSTER}"), &[]).unwrap();
    let open = "0.0.0.0:7400".parse().unwrap();
    let problems = load("").check_open(open).unwrap_err();
    let problem = "listen: is still 0.0.0.0:7400 until a restart: set `gateway_secret` or `tls.client_ca`";
    assert_eq!(problems.iter().map(Problem::to_string).collect::<Vec<_>>(), [problem]);
    assert!(load("gateway_secret = \"0123456789abcdef\"").check_open(open).is_ok());
    assert!(load("").check_open("127.0.0.1:7400".parse().unwrap()).is_ok());
}

#[test]
fn write_clusters_have_to_exist() {
    assert!(load(CLUSTER, &[]).unwrap().write.clusters.is_empty());
    let text = format!("[write]\nclusters = [\"default\"]\n{CLUSTER}");
    assert_eq!(load(&text, &[]).unwrap().write.clusters, ["default".to_owned()].into());
    let variable = [("SLUICEGATE_WRITE__CLUSTERS", "default")];
    assert_eq!(load(CLUSTER, &variable).unwrap().write.clusters, ["default".to_owned()].into());
    let number = format!("[write]\nclusters = [7]\n{CLUSTER}");
    assert!(load(&number, &[]).unwrap_err()[0].ends_with("expected a list of names"));
}

#[test]
fn producer_properties_are_checked_if_the_cluster_is_written_to() {
    let section = format!("{CLUSTER}message.max.bytes = 2000\nbatch.num.messages = 10\nlinger.ms = 60000\n");
    assert!(load(&section, &[]).is_ok());
    let written = format!("[write]\nclusters = [\"default\"]\n{section}");
    let problems = load(&written, &[]).unwrap_err();
    let [problem] = &problems[..] else { panic!("{problems:?}") };
    assert!(
        problem.starts_with("clusters.default: cannot be written to: ") && problem.contains("linger.ms"),
        "{problem}"
    );
}

#[test]
fn deprecated_keys_are_honoured_and_named() {
    let plain = load(CLUSTER, &[]).unwrap();
    assert_eq!(plain.limits.connection_window_bytes, 1 << 30);
    assert_eq!(plain.session.close_timeout, Duration::from_secs(5));
    assert_eq!(plain.traces.max_spans_per_second, 1000);
    assert_eq!(plain.deprecations, Vec::<String>::new());

    let text = format!("{CLUSTER}[session]\nclose_timeout_ms = 300\n[traces]\nmax_spans_per_second = 7\n");
    let old = load(&text, &[("SLUICEGATE_LIMITS__CONNECTION_WINDOW_BYTES", "65536000")]).unwrap();
    assert_eq!(old.limits.connection_window_bytes, 65_536_000);
    assert_eq!(old.session.close_timeout, Duration::from_millis(300));
    assert_eq!(old.traces.max_spans_per_second, 7);
    let window = "1 GiB, the most that limits.stream_window_bytes × limits.max_streams can be";
    let deprecations = [
        format!("deprecated: limits.connection_window_bytes; without it the bridge uses {window}"),
        "deprecated: session.close_timeout_ms; without it the bridge uses 5 s".to_owned(),
        "deprecated: traces.max_spans_per_second; without it the bridge uses 1000".to_owned(),
    ];
    assert_eq!(old.deprecations, deprecations);
}

#[test]
fn secret_can_be_in_a_file() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "0123456789abcdef").unwrap();
    let text = format!("gateway_secret = {{ file = {:?} }}\n{CLUSTER}", file.path());
    let config = load(&text, &[]).unwrap();
    assert!(config.gateway_secret.as_ref().unwrap().is(b"0123456789abcdef"));
    assert!(!format!("{config:?}").contains("0123456789abcdef"));
    let variable = ("SLUICEGATE_GATEWAY_SECRET__FILE", file.path().to_str().unwrap());
    assert!(load(CLUSTER, &[variable]).unwrap().gateway_secret.is_some());
}

#[test]
fn property_value_can_be_text_a_number_a_boolean_or_in_a_file() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    write!(file, "10.0.0.1:7\r\n\n").unwrap();
    let path = file.path().to_str().unwrap();
    let cluster = "[clusters.default]\n";
    for servers in [
        format!("bootstrap.servers = {{ file = {path:?} }}"),
        format!("\"bootstrap.servers\" = {{ file = {path:?} }}"),
        format!("bootstrap.servers.file = {path:?}"),
    ] {
        let shown = format!("{:?}", load(&format!("{cluster}{servers}"), &[]).unwrap().clusters["default"]);
        assert!(shown.contains("10.0.0.1") && shown.contains("port: 7"), "{shown}");
    }
    let variable = ("SLUICEGATE_CLUSTERS__DEFAULT__BOOTSTRAP_SERVERS__FILE", path);
    let shown = format!("{:?}", load(CLUSTER, &[variable]).unwrap().clusters["default"]);
    assert!(shown.contains("10.0.0.1") && !shown.contains("9092"), "{shown}");

    let text = format!("{CLUSTER}socket.timeout.ms = 2500\n\"socket.keepalive.enable\" = true\n");
    let shown = format!("{:?}", load(&text, &[]).unwrap().clusters["default"]);
    assert!(shown.contains("2.5s"), "{shown}");

    let unreadable = format!("{cluster}bootstrap.servers = {{ file = \"/nowhere\" }}");
    check(
        &unreadable,
        &[],
        &["clusters.default.bootstrap.servers: /nowhere: No such file or directory (os error 2)"],
    );
    let variable = ("SLUICEGATE_CLUSTERS__DEFAULT__BOOTSTRAP_SERVERS", "127.0.0.1:3");
    assert!(load(&unreadable, &[variable]).is_ok());
}

#[test]
fn other_tables_are_refused() {
    let no_file = "expected { file = \"…\" } with the path of a file, and no other key";
    let elsewhere = "set `client.id` to its value or to { file = \"…\" }";
    for (given, problem) in [
        ("{ file = 1 }", format!("client.id: {no_file}")),
        ("{ file = \"\" }", format!("client.id: {no_file}")),
        ("{ file = {} }", format!("client.id: {no_file}")),
        ("{ file = \"/nowhere\", line = 1 }", format!("client.id: {no_file}")),
        ("{}", format!("client.id: is an empty table, {VALUE}")),
        ("{ path = \"x\" }", format!("client.id.path: is not a librdkafka property: {elsewhere}")),
        ("{ file = \"/dev/zero\" }", "client.id: /dev/zero: is larger than 1048576 bytes, its limit".into()),
    ] {
        check(&format!("{CLUSTER}client.id = {given}"), &[], &[&format!("clusters.default.{problem}")]);
    }
}

#[test]
fn property_names_can_end_in_file() {
    let text = format!("{CLUSTER}sasl.oauthbearer.assertion.file = \"/nowhere/assertion\"\n");
    let problems = load(&text, &[]).err().unwrap_or_default();
    let own = "clusters.default.sasl.oauthbearer.assertion.file: ";
    assert!(
        problems.iter().all(|problem| problem.starts_with(own) && !problem.contains("os error")),
        "{problems:?}"
    );
}

#[test]
fn each_invalid_property_is_one_problem() {
    let text = format!(
        "{CLUSTER}lingr.ms = []\nlinger.ms = \"soon\"\nsocket.timeout.ms = \"soon\"\nrebalance_cb = \"x\"\n\
         plugin.library.paths = \"/nowhere/plugin.so\"\nsocket.connection.setup.timeout.ms = 500\nacks = \"most\"\n"
    );
    let range =
        "Configuration property \"socket.connection.setup.timeout.ms\" value 500 is outside allowed range";
    let refused = "is rejected by librdkafka:";
    let want = [
        "lingr.ms: is not a librdkafka property, did you mean `linger.ms`?".to_owned(),
        "plugin.library.paths: would load code into the bridge: leave it out".to_owned(),
        "rebalance_cb: can only be set by a program: leave it out".to_owned(),
        "socket.timeout.ms: expected 10 to 300000 milliseconds, got `soon`".to_owned(),
        format!("acks: {refused} Invalid value for configuration property \"request.required.acks\""),
        format!("linger.ms: {refused} Invalid value for configuration property \"queue.buffering.max.ms\""),
        format!("socket.connection.setup.timeout.ms: {refused} {range} 1000..2147483647"),
    ]
    .map(|problem| format!("clusters.default.{problem}"));
    check(&text, &[], &want.each_ref().map(String::as_str));
}

/// Looks like no word of a message.
const HIDDEN: &str = "hunter2-hidden";

/// Expects neither problems nor a configuration to show [`HIDDEN`] as the value of these keys, in any form, valid or not.
fn check_hidden(cluster: &str, variable: &str, keys: &[&str]) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "{HIDDEN}").unwrap();
    let values = [
        format!("{HIDDEN:?}"),
        format!("[{HIDDEN:?}]"),
        format!("{{ path = {HIDDEN:?} }}"),
        format!("{{ file = [{HIDDEN:?}] }}"),
        format!("{{ file = {:?} }}", file.path()),
        HIDDEN.to_owned(),
        format!("\"{HIDDEN}"),
        format!("\"{HIDDEN}\\z\""),
        format!("\"{HIDDEN}\" {HIDDEN}"),
    ];
    for key in keys {
        for value in &values {
            hides(&format!("{cluster}{key} = {value}"), &[]);
        }
        let variable = format!("{variable}{}", key.to_uppercase().replace('.', "_"));
        hides(cluster, &[(&variable, HIDDEN)]);
    }
}

fn hides(text: &str, variables: &[(&str, &str)]) {
    let shown = format!("{:?}", load(text, variables));
    assert!(!shown.contains(HIDDEN), "{text} {variables:?}: {shown}");
}

#[test]
fn errors_and_debug_show_no_secret() {
    let secrets = [
        "sasl.password",
        "sasl.pasword",
        "sasl.oauthbearer.client.secret",
        "sasl.oauthbearer.client.credentials.client.secret",
        "sasl.oauthbearer.config",
        "sasl.oauthbearer.assertion.private.key.passphrase",
        "sasl.oauthbearer.assertion.private.key.pem",
        "sasl.jaas.config",
        "ssl.key.pem",
        "ssl.key.password",
        "ssl.keystore.password",
        "ssl_key",
        "my.password",
    ];
    check_hidden(CLUSTER, "SLUICEGATE_CLUSTERS__DEFAULT__", &secrets);
    let mut all = format!("{CLUSTER}security.protocol = \"sasl_ssl\"\nsasl.mechanism = \"PLAIN\"\n");
    all.extend(secrets.map(|secret| format!("{secret} = {HIDDEN:?}\n")));
    hides(&all, &[]);
    let sasl =
        "security.protocol = \"sasl_plaintext\"\nsasl.mechanism = \"PLAIN\"\nsasl.username = \"reader\"\n";
    let usable = format!("{CLUSTER}{sasl}sasl.password = {HIDDEN:?}");
    assert!(load(&usable, &[]).is_ok());
    hides(&usable, &[]);
}

#[test]
fn errors_show_no_file_content() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "{HIDDEN}").unwrap();
    let path = file.path().to_str().unwrap();
    for property in
        ["linger.ms", "socket.timeout.ms", "compression.codec", "broker.address.family", "isolation.level"]
    {
        let problem = "does not contain a valid value of this property";
        check(
            &format!("{CLUSTER}{property} = {{ file = {path:?} }}"),
            &[],
            &[&format!("clusters.default.{property}: {path}: {problem}")],
        );
    }
    let location = format!("security.protocol = \"ssl\"\nssl.ca.location = {{ file = {path:?} }}");
    let problem = format!("the text of {path} is taken as the path: expected \"{path}\" itself");
    check(&format!("{CLUSTER}{location}"), &[], &[&format!("clusters.default.ssl.ca.location: {problem}")]);
}

#[test]
fn secret_is_text() {
    let sasl =
        "security.protocol = \"sasl_plaintext\"\nsasl.mechanism = \"PLAIN\"\nsasl.username = \"reader\"\n";
    for (value, kind) in [("1_000", "integer"), ("12.50", "float"), ("true", "boolean")] {
        check(
            &format!("{CLUSTER}{sasl}sasl.password = {value}"),
            &[],
            &[&format!(
                "clusters.default.sasl.password: is of type {kind}, expected a string or {{ file = \"…\" }}"
            )],
        );
    }
}
