//! Whole configurations: accepted ones, and every problem of one that is not.

mod documents;
mod environment;
mod identity;
mod nats;
mod suggestions;

use std::io::Write;

use super::*;

const CLUSTER: &str = "[clusters.default]\nbootstrap.servers = \"127.0.0.1:9092\"\n";

pub(super) fn load(text: &str, variables: &[(&str, &str)]) -> Result<Config, Vec<String>> {
    let variables = variables.iter().map(|&(name, value)| (name.into(), value.into()));
    Config::load(text, variables).map_err(|all| all.iter().map(Problem::to_string).collect())
}

#[track_caller]
pub(super) fn check(text: &str, variables: &[(&str, &str)], want: &[&str]) {
    assert_eq!(load(text, variables).expect_err("problems"), want, "{text}");
}

/// Expects the problems behind each document, which are indented. Deeper lines continue them. `whole` completes a
/// document, and its lines that begin with `SLUICEGATE_` are variables.
#[track_caller]
pub(super) fn check_each(whole: impl Fn(&str) -> String, cases: &str) {
    let mut lines = cases.lines().skip(1).peekable();
    while lines.peek().is_some() {
        let (mut document, mut variables, mut want) = (String::new(), Vec::new(), Vec::<String>::new());
        while let Some(line) = lines.next_if(|line| !line.starts_with(' ')) {
            match line.split_once('=').filter(|(name, _)| name.starts_with("SLUICEGATE_")) {
                Some(variable) => variables.push(variable),
                None => document.extend([line, "\n"]),
            }
        }
        while let Some(line) = lines.next_if(|line| line.starts_with(' ')) {
            match want.last_mut().filter(|_| line.starts_with("        ")) {
                Some(last) => last.extend([" ", line.trim_start()]),
                None => want.push(line.trim_start().to_owned()),
            }
        }
        check(&whole(&document), &variables, &want.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

#[test]
fn revocations_and_claims_have_their_files_and_topics() {
    let audit = load(&format!("[audit]\nfile = \"/dev/stdout\"\nclaims = [\"email\"]\n{CLUSTER}"), &[]);
    assert!(audit.unwrap().audit.claims.contains("email"));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, "{\"jti\": \"t\", \"until\": 9}\n").unwrap();
    let tables = format!("{CLUSTER}[revocation]\nlist_file = {:?}\n", file.path());
    assert_eq!(load(&tables, &[]).unwrap().warnings, []);
    std::fs::write(&file, b"\n\xC3\n{\"jti\": \"t\", \"until\": 9}\nx").unwrap();
    let config = load(&tables, &[]).unwrap();
    assert_eq!(config.revocation.listed.entries.len(), 1);
    let [warning] = &config.warnings[..] else { panic!("{:?}", config.warnings) };
    let warning = warning.to_string();
    let told = ": skipped 2 of its lines, the first is line 2: expected {";
    assert!(warning.starts_with("revocation.list_file: ") && warning.contains(told), "{warning}");
    let told = "entries that are removed still count, and after a restart the skipped lines do not";
    assert!(warning.ends_with(told), "{warning}");
    let topic = load(&format!("{CLUSTER}[revocation]\ntopic = \"t\"\n"), &[]).unwrap().revocation.topic;
    assert_eq!(topic, Some(RevocationTopic { name: "t".into(), cluster: "default".into() }));
}

#[test]
fn each_mistake_is_one_problem() {
    let clusters = format!("{CLUSTER}[clusters.n]\nkind = \"nats\"\nservers = \"nats://127.0.0.1\"\n");
    check_each(|text| format!("{text}{clusters}"), MISTAKES);
    check("", &[], &[NO_CLUSTER]);
    for valid in [
        "listen = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"",
        "listen = \"0.0.0.0:7400\"\ngateway_secret = \"0123456789abcdef\"",
        "listen = \"[::1]:7400\"",
        "limits.max_streams = 16384",
        "log_level = \"warn,sluicegate=debug,async_nats=off\"",
        "write.clusters = [\"n\"]",
        "limits.session_answer_bytes = 65536\nread.max_bytes = 65536",
        "clusters.k = { kind = \"kafka\", bootstrap.servers = \"a:1\" }",
    ] {
        load(&format!("{valid}\n{clusters}"), &[]).expect(valid);
    }
}

const MISTAKES: &str = r#"
second_gateway_secret = "0123456789abcdef"
    second_gateway_secret: is set without `gateway_secret`: set that one, or both
audit.claims = ["email"]
    audit.claims: is set without audit.file: set both
audit.on_full = "refuse"
    audit.on_full: is set without audit.file: set both
audit.file = "/nowhere/audit.log"
    audit.file: /nowhere: No such file or directory (os error 2)
audit.on_full = "wait"
    audit.on_full: is "wait", expected "drop" or "refuse"
revocation.topic = "t*"
    revocation.topic: expected the name of a topic
revocation.cluster = "default"
    revocation.cluster: is set without revocation.topic: set both
revocation = { topic = "t", cluster = "x" }
    revocation.cluster: is "x", expected the NAME of a [clusters.NAME] of Kafka
revocation = { topic = "t", cluster = "n" }
    revocation.cluster: is "n", expected the NAME of a [clusters.NAME] of Kafka
traces.endpoint = "http://me:secret@h:4317"
    traces.endpoint: is a URL with credentials, expected http://HOST:PORT of a collector
traces.sample_ratio = 1.5
    traces.sample_ratio: is 1.5, expected a number from 0 to 1
traces.sample_ratio = -1
    traces.sample_ratio: is -1, expected a number from 0 to 1
traces.endpoint = "h:1"
    traces.endpoint: is "h:1", expected http://HOST:PORT of a collector
listen = "127.0.0.1:7401"
    admin_listen: is 127.0.0.1:7401, as is `listen`: expected another port
listen = "0.0.0.0:7400"
admin_listen = "0.0.0.0:7401"
    listen: 0.0.0.0:7400 is not a loopback address: set `gateway_secret` or `tls.client_ca`
write.clusters = ["other"]
    write.clusters: has "other", expected the NAME of a [clusters.NAME]
write.clusters = ["defualt"]
    write.clusters: has "defualt", did you mean "default"?
log_level = "debg"
    log_level: is "debg", expected error, warn, info, debug, trace or off, or filters such as
        "info,sluicegate=debug"
log_level = "info,"
    log_level: is "info,", expected error, warn, info, debug, trace or off, or filters such as
        "info,sluicegate=debug"
log_level = "a=b=info"
    log_level: is "a=b=info", expected error, warn, info, debug, trace or off, or filters such as
        "info,sluicegate=debug"
write.clusters = [7]
    write.clusters: is [7], expected a list of names
limits.max_streams = 16385
    limits.max_streams: is 16385, expected limits.stream_window_bytes times limits.max_streams to be at most
        1073741824, not 1073807360
limits = { max_streams = 2000, connection_window_bytes = 67108864 }
    limits.max_streams: is 2000, expected limits.stream_window_bytes times limits.max_streams to be at most
        67108864, not 131072000
limits.session_answer_bytes = 65536
read.max_bytes = 65537
    read.max_bytes: is 65537, expected at most limits.session_answer_bytes (65536)
colour = 1
    colour: is not a key of this configuration, see docs/reference/bridge-configuration.md
"#;

#[test]
fn example_has_the_defaults() {
    let example = load(include_str!("../../example.toml"), &[]).unwrap();
    let default = load(CLUSTER, &[]).unwrap();
    assert_eq!(format!("{example:#?}"), format!("{default:#?}"));
}

#[test]
fn all_problems_are_reported_with_their_key() {
    check_each(
        str::to_owned,
        r#"
listen = "localhost"
gateway_secret = "short"
log_format = "xml"
colour = "red"
limits = { max_sessions = 0, max_request_bytes = "1 MiB", max_session = 5 }
session.ping_interval_ms = -1
read.max_bytes = 9_999_999_999
SLUICEGATE_READ__WAIT_MS=soon
tls.key = "/nowhere/key.pem"
clusters.a.client.id = "x"
[clusters."b c"]
[clusters.d]
"bootstrap.servers" = "127.0.0.1:1"
bootstrap.servers = "127.0.0.1:2"
linger.ms = []
    listen: is "localhost", expected an IP address and a port, such as "127.0.0.1:7400"
    gateway_secret: has 5 characters, expected at least 16
    tls.certificate: is missing, expected the path of a file
    tls.key: /nowhere/key.pem: I/O error: No such file or directory (os error 2)
    log_format: is "xml", expected "text" or "json"
    limits.max_sessions: is 0, expected a whole number from 1 to 1000000
    limits.max_request_bytes: is "1 MiB", expected a whole number from 1024 to 67108864
    limits.max_session: is not a key of this configuration, did you mean `limits.max_sessions`?
    session.ping_interval_ms: is -1, expected a whole number from 100 to 3600000
    read.max_bytes: is 9999999999, expected a whole number from 1024 to 67108864
    SLUICEGATE_READ__WAIT_MS: is "soon", expected a whole number from 0 to 30000
    clusters.a.bootstrap.servers: is required: expected `host:port[,host:port…]`
    clusters.b c: expected a name of 1 to 100 letters, digits, '.', '_' and '-'
    clusters.b c.bootstrap.servers: is required: expected `host:port[,host:port…]`
    clusters.d.bootstrap.servers: is given twice
    clusters.d.linger.ms: is of type array, expected a string, a number, a boolean or { file = "…" }
    colour: is not a key of this configuration, see docs/reference/bridge-configuration.md
"#,
    );
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
fn write_clusters_are_a_list() {
    assert!(load(CLUSTER, &[]).unwrap().write.clusters.is_empty());
    let text = format!("[write]\nclusters = [\"default\"]\n{CLUSTER}");
    assert_eq!(load(&text, &[]).unwrap().write.clusters, ["default".to_owned()].into());
    let variable = [("SLUICEGATE_WRITE__CLUSTERS", "default")];
    assert_eq!(load(CLUSTER, &variable).unwrap().write.clusters, ["default".to_owned()].into());
}

#[test]
fn producer_properties_are_checked_if_the_cluster_is_written_to() {
    let section = format!("{CLUSTER}message.max.bytes = 2000\nbatch.num.messages = 10\nlinger.ms = 60000\n");
    assert!(load(&section, &[]).is_ok());
    let written = format!("[write]\nclusters = [\"default\"]\n{section}");
    let problems = load(&written, &[]).unwrap_err();
    let [problem] = &problems[..] else { panic!("{problems:?}") };
    assert!(problem.starts_with("clusters.default: cannot be written to: "), "{problem}");
    assert!(problem.contains("linger.ms"), "{problem}");
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
    let missing = "clusters.default.bootstrap.servers: /nowhere: No such file or directory (os error 2)";
    check(&unreadable, &[], &[missing]);
    let variable = ("SLUICEGATE_CLUSTERS__DEFAULT__BOOTSTRAP_SERVERS", "127.0.0.1:3");
    assert!(load(&unreadable, &[variable]).is_ok());
}

#[test]
fn property_names_can_end_in_file() {
    let text = format!("{CLUSTER}sasl.oauthbearer.assertion.file = \"/nowhere/assertion\"\n");
    let problems = load(&text, &[]).err().unwrap_or_default();
    let is_own = |problem: &String| problem.starts_with("clusters.default.sasl.oauthbearer.assertion.file: ");
    assert!(problems.iter().all(is_own) && !problems.concat().contains("os error"), "{problems:?}");
}

/// Values in files are not shown.
#[test]
fn each_invalid_property_is_one_problem() {
    check_each(
        |lines| format!("{CLUSTER}{lines}"),
        r#"
client.id = { file = 1 }
    clusters.default.client.id: expected { file = "…" } with the path of a file, and no other key
client.id = { file = "" }
    clusters.default.client.id: expected { file = "…" } with the path of a file, and no other key
client.id = { file = {} }
    clusters.default.client.id: expected { file = "…" } with the path of a file, and no other key
client.id = { file = "/nowhere", line = 1 }
    clusters.default.client.id: expected { file = "…" } with the path of a file, and no other key
client.id = {}
    clusters.default.client.id: is an empty table, expected a string, a number, a boolean or { file = "…" }
client.id = { path = "x" }
    clusters.default.client.id.path: is not a librdkafka property: set `client.id` to its value or to { file = "…" }
client.id = { file = "/dev/zero" }
    clusters.default.client.id: /dev/zero: is larger than 1048576 bytes, its limit
linger.ms = { file = "Cargo.toml" }
    clusters.default.linger.ms: Cargo.toml: does not contain a valid value of this property
socket.timeout.ms = { file = "Cargo.toml" }
    clusters.default.socket.timeout.ms: Cargo.toml: does not contain a valid value of this property
compression.codec = { file = "Cargo.toml" }
    clusters.default.compression.codec: Cargo.toml: does not contain a valid value of this property
broker.address.family = { file = "Cargo.toml" }
    clusters.default.broker.address.family: Cargo.toml: does not contain a valid value of this property
isolation.level = { file = "Cargo.toml" }
    clusters.default.isolation.level: Cargo.toml: does not contain a valid value of this property
security.protocol = "ssl"
ssl.ca.location = { file = "Cargo.toml" }
    clusters.default.ssl.ca.location: the text of Cargo.toml is taken as the path: expected "Cargo.toml" itself
sasl = { mechanism = "PLAIN", username = "reader", password = 1_000 }
security.protocol = "sasl_plaintext"
    clusters.default.sasl.password: is of type integer, expected a string or { file = "…" }
sasl = { mechanism = "PLAIN", username = "reader", password = 12.50 }
security.protocol = "sasl_plaintext"
    clusters.default.sasl.password: is of type float, expected a string or { file = "…" }
sasl = { mechanism = "PLAIN", username = "reader", password = true }
security.protocol = "sasl_plaintext"
    clusters.default.sasl.password: is of type boolean, expected a string or { file = "…" }
lingr.ms = []
linger.ms = "soon"
socket.timeout.ms = "soon"
rebalance_cb = "x"
plugin.library.paths = "/nowhere/plugin.so"
socket.connection.setup.timeout.ms = 500
acks = "most"
    clusters.default.lingr.ms: is not a librdkafka property, did you mean `linger.ms`?
    clusters.default.plugin.library.paths: would load code into the bridge: leave it out
    clusters.default.rebalance_cb: can only be set by a program: leave it out
    clusters.default.socket.timeout.ms: expected 10 to 300000 milliseconds, got `soon`
    clusters.default.acks: is rejected by librdkafka: Invalid value for configuration property
        "request.required.acks"
    clusters.default.linger.ms: is rejected by librdkafka: Invalid value for configuration property
        "queue.buffering.max.ms"
    clusters.default.socket.connection.setup.timeout.ms: is rejected by librdkafka: Configuration property
        "socket.connection.setup.timeout.ms" value 500 is outside allowed range 1000..2147483647
"#,
    );
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
    let secrets = "sasl.password sasl.pasword sasl.oauthbearer.client.secret \
                   sasl.oauthbearer.client.credentials.client.secret sasl.oauthbearer.config \
                   sasl.oauthbearer.assertion.private.key.passphrase sasl.oauthbearer.assertion.private.key.pem \
                   sasl.jaas.config ssl.key.pem ssl.key.password ssl.keystore.password ssl_key my.password";
    let secrets: Vec<&str> = secrets.split(' ').collect();
    check_hidden(CLUSTER, "SLUICEGATE_CLUSTERS__DEFAULT__", &secrets);
    let mut all = format!("{CLUSTER}security.protocol = \"sasl_ssl\"\nsasl.mechanism = \"PLAIN\"\n");
    all.extend(secrets.iter().map(|secret| format!("{secret} = {HIDDEN:?}\n")));
    hides(&all, &[]);
    let sasl =
        "security.protocol = \"sasl_plaintext\"\nsasl.mechanism = \"PLAIN\"\nsasl.username = \"reader\"\n";
    let usable = format!("{CLUSTER}{sasl}sasl.password = {HIDDEN:?}");
    assert!(load(&usable, &[]).is_ok());
    hides(&usable, &[]);
}
