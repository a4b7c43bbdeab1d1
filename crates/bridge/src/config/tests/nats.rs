//! NATS clusters.

mod secured;

use std::fs;
use std::path::PathBuf;

use sluicegate_nats::{ClusterConfig as Nats, Credentials, ServerAddr};
use sluicegate_stack::certificates::Authority;
use tempfile::TempDir;

use super::super::nats::keys;
use super::*;

const NATS: &str = "[clusters.n]\nkind = \"nats\"\nservers = \"nats://127.0.0.1\"\n";
const SEED: &str = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";

/// Loads a cluster with these lines besides its servers.
#[track_caller]
fn cluster(lines: &str) -> Nats {
    cluster_of(&format!("{NATS}{lines}"))
}

#[track_caller]
fn cluster_of(text: &str) -> Nats {
    let mut config = load(text, &[]).unwrap_or_else(|problems| panic!("{problems:#?}"));
    match config.clusters.remove("n") {
        Some(ClusterConfig::Nats(config)) => config,
        other => panic!("{other:?}"),
    }
}

fn urls(servers: &[ServerAddr]) -> Vec<&str> {
    servers.iter().map(|server| server.as_url_str()).collect()
}

#[track_caller]
fn refused(lines: &str, want: &[&str]) {
    let want: Vec<String> = want.iter().map(|problem| format!("clusters.n.{problem}")).collect();
    check(&format!("{NATS}{lines}"), &[], &want.iter().map(String::as_str).collect::<Vec<_>>());
}

fn creds(jwt: &str, seed: &str) -> String {
    let [user, nkey] = ["NATS USER JWT", "USER NKEY SEED"];
    format!(
        "-----BEGIN {user}-----\n{jwt}\n------END {user}------\n\n-----BEGIN {nkey}-----\n{seed}\n\
         ------END {nkey}------\n"
    )
}

/// Certificates and other files.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        let authority = Authority::new("ca").unwrap();
        let [one, other] = ["one", "other"].map(|name| authority.client(name).unwrap());
        files.write("ca.pem", &authority.pem());
        files.write("one.pem", &one.certificate);
        files.write("one.key", &one.key);
        files.write("other.key", &other.key);
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        fs::write(self.path(name), text).unwrap();
        self.path(name)
    }
}

#[test]
fn only_servers_are_required() {
    // `documented_defaults_hold` has the others.
    let Nats { servers, credentials, tls, domain, .. } = cluster("");
    assert_eq!(urls(&servers), ["nats://127.0.0.1:4222"]);
    assert!(matches!(credentials, Credentials::None) && tls.is_none() && domain.is_none());
    let required = "clusters.n.servers: is required, expected nats://host:port or tls://host:port, with commas \
                    between servers";
    check("[clusters.n]\nkind = \"nats\"\n", &[], &[required]);
}

#[test]
fn documented_defaults_hold() {
    for row in keys::rows() {
        let (name, default) = (row[0].trim_matches('`'), row[2].trim_matches('`').replace(',', ""));
        if ["required", "none", "the servers'", "the system's"].contains(&default.as_str()) {
            continue;
        }
        let set = cluster(&format!("{name} = {default:?}\n"));
        assert_eq!(format!("{set:?}"), format!("{:?}", cluster("")), "{name} = {default}");
    }
}

#[test]
fn every_key_can_be_a_variable() {
    let files = Files::new();
    let [ca, certificate, key] = ["ca.pem", "one.pem", "one.key"].map(|name| files.path(name));
    let creds = creds("a.b.c", SEED);
    let one_of_each = [
        ("servers", "nats://a:1, tls://[::1]"),
        ("user", "u"),
        ("password", "p"),
        ("domain", "leaf"),
        ("inbox", "a.b"),
        ("discover", "false"),
        ("tls.ca", ca.to_str().unwrap()),
        ("tls.certificate", certificate.to_str().unwrap()),
        ("tls.key", key.to_str().unwrap()),
        ("tls.handshake.first", "true"),
        ("request.timeout.ms", "100"),
        ("queue.bytes", "1024"),
        ("queue.records", "1"),
    ];
    let others = [("token", "t"), ("nkey", SEED), ("creds", &*creds)];
    let covered = one_of_each.iter().chain(&others).map(|(name, _)| *name);
    assert_eq!(covered.collect::<BTreeSet<_>>(), keys::NAMES.iter().copied().collect());

    let loaded = |given: &[(&str, &str)]| {
        let variable =
            |name: &str| format!("SLUICEGATE_CLUSTERS__N__{}", name.to_uppercase().replace('.', "_"));
        let names: Vec<String> = given.iter().map(|(name, _)| variable(name)).collect();
        let values = given.iter().map(|(_, value)| *value);
        let variables: Vec<_> = names.iter().map(String::as_str).zip(values).collect();
        format!("{:?}", load("", &variables).unwrap().clusters)
    };
    let shown = loaded(&[&[("kind", "nats")], &one_of_each[..]].concat());
    for part in
        ["nats://a:1", "tls://[::1]:4222", "user: \"u\"", "leaf", "a.b", "discover: false", "100ms", "1024"]
    {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(shown.contains("handshake_first: true") && !shown.contains("100000"), "{shown}");
    for (name, value) in others {
        let file = files.write("value", &format!("{value}\n"));
        for given in [(name, value), (&*format!("{name}__FILE"), file.to_str().unwrap())] {
            loaded(&[("kind", "nats"), ("servers", "nats://a"), given]);
        }
    }
}

#[test]
fn keys_of_the_other_kind_are_refused() {
    check_each(
        |lines| format!("{CLUSTER}{lines}"),
        r#"
servers = "nats://a"
token = "t"
password = "p"
    clusters.default.password: is a key of NATS clusters: set `sasl.password`, or `kind` to "nats"
    clusters.default.servers: is a key of NATS clusters: set `bootstrap.servers`, or `kind` to "nats"
    clusters.default.token: is a key of NATS clusters: leave it out, or set `kind` to "nats"
"#,
    );
}

#[test]
fn each_mistake_is_one_problem() {
    check_each(|lines| format!("{NATS}{lines}"), MISTAKES);
}

const MISTAKES: &str = r#"
bootstrap.servers = "a:1"
linger.ms = 5
ssl.ca.location = "/nowhere"
    clusters.n.bootstrap.servers: is a property of Kafka clusters: set `servers`, or leave out `kind`
    clusters.n.linger.ms: is a property of Kafka clusters: leave it out, or leave out `kind`
    clusters.n.ssl.ca.location: is a property of Kafka clusters: set `tls.ca`, or leave out `kind`
colour = "red"
user.name = "u"
tls.handshake_first = true
Queue-Bytes = 5
password.path = "/nowhere"
    clusters.n.Queue-Bytes: is not a key of NATS clusters, did you mean `queue.bytes`?
    clusters.n.colour: is not a key of NATS clusters, see docs/reference/bridge-configuration.md
    clusters.n.password.path: is not a key of NATS clusters: set `password` to its value or to { file = "…" }
    clusters.n.tls.handshake_first: is not a key of NATS clusters, did you mean `tls.handshake.first`?
    clusters.n.user.name: is not a key of NATS clusters: set `user` to its value or to { file = "…" }
discover = "yes"
tls.handshake.first = 1
request.timeout.ms = 99
queue.bytes = "64 MiB"
queue.records = 10_000_001
    clusters.n.tls.handshake.first: is "1", expected true or false
    clusters.n.discover: is "yes", expected true or false
    clusters.n.request.timeout.ms: is "99", expected a whole number from 100 to 60000
    clusters.n.queue.bytes: is "64 MiB", expected a whole number from 1024 to 2147483648
    clusters.n.queue.records: is "10000001", expected a whole number from 1 to 10000000
user = "u"
    clusters.n.password: is required with `user`
password = "p"
    clusters.n.user: is required with `password`
user = ""
password = " "
    clusters.n.user: is empty
    clusters.n.password: is empty
password = "p"
token = "t"
    clusters.n.token: conflicts with `password`: set only one kind of credentials
    clusters.n.user: is required with `password`
password = 1_000
    clusters.n.password: is of type integer, expected a string or { file = "…" }
token = 1_000
    clusters.n.token: is of type integer, expected a string or { file = "…" }
nkey = 1_000
    clusters.n.nkey: is of type integer, expected a string or { file = "…" }
creds = 1_000
    clusters.n.creds: is of type integer, expected a string or { file = "…" }
"#;

#[test]
fn servers_are_urls() {
    for (servers, want) in [
        ("nats://a:1", &["nats://a:1"][..]),
        (" nats://A.example , tls://10.0.0.1:7 ", &["nats://a.example:4222", "tls://10.0.0.1:7"]),
        ("nats://[::1],nats://[::1]:5", &["nats://[::1]:4222", "nats://[::1]:5"]),
    ] {
        let found = cluster_of(&format!("[clusters.n]\nkind = \"nats\"\nservers = {servers:?}\n"));
        assert_eq!((urls(&found.servers), found.tls.is_some()), (want.to_vec(), servers.contains("tls://")));
    }
    let wrong = "a:1 nats:// nats://:1 nats://a:0 nats://a:70000 nats://a/ ws://a:1 nats://a:1:2";
    for wrong in wrong.split(' ').chain(["", "nats://a b"]) {
        let text = format!("[clusters.n]\nkind = \"nats\"\nservers = \"nats://a,{wrong}\"\n");
        let expected = "expected nats://host:port or tls://host:port, with commas between servers";
        check(&text, &[], &[&format!("clusters.n.servers: has \"{wrong}\", {expected}")]);
    }
    let text = "[clusters.n]\nkind = \"nats\"\nservers = \"nats://u:hid,den@a:1\"\n";
    let problem = "clusters.n.servers: contains credentials: use `user` and `password`, or `token`";
    check(text, &[], &[problem]);
}

#[test]
fn subjects_are_checked() {
    for (name, value) in [("domain", "leaf-1"), ("inbox", "_INBOX"), ("inbox", "acme.bridge.ü")] {
        cluster(&format!("{name} = {value:?}"));
    }
    let domain = "expected a name without spaces, '.', '*' and '>'";
    for wrong in ["", "a.b", "a b", "*", ">", "a>"] {
        refused(&format!("domain = {wrong:?}"), &[&format!("domain: is \"{wrong}\", {domain}")]);
    }
    let inbox = "expected a subject without spaces, empty tokens, '*' and '>'";
    for wrong in ["", ".", "a.", ".a", "a..b", "a.*", "a.>", "a b"] {
        refused(&format!("inbox = {wrong:?}"), &[&format!("inbox: is \"{wrong}\", {inbox}")]);
    }
}
