//! NATS clusters.

mod secured;

use std::fs;
use std::path::PathBuf;

use sluicegate_nats::{ClusterConfig as Nats, Credentials};
use sluicegate_stack::certificates::Authority;
use tempfile::TempDir;

use super::super::nats::keys;
use super::*;

const NATS: &str = "[clusters.n]\nkind = \"nats\"\nservers = \"nats://127.0.0.1\"\n";
const SEED: &str = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";

/// Loads a cluster with these lines besides its servers.
#[track_caller]
fn cluster(lines: &str) -> Nats {
    let mut config = load(&format!("{NATS}{lines}"), &[]).unwrap_or_else(|problems| panic!("{problems:#?}"));
    match config.clusters.remove("n") {
        Some(ClusterConfig::Nats(config)) => config,
        other => panic!("{other:?}"),
    }
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
    let Nats { servers, discover, credentials, tls, domain, inbox, request_timeout, .. } = cluster("");
    assert_eq!(
        servers.iter().map(|server| server.as_url_str()).collect::<Vec<_>>(),
        ["nats://127.0.0.1:4222"]
    );
    assert!(discover && matches!(credentials, Credentials::None) && tls.is_none() && domain.is_none());
    assert_eq!((inbox.as_str(), request_timeout), ("_INBOX", Duration::from_secs(5)));
    let Nats { queue_bytes, queue_records, .. } = cluster("");
    assert_eq!((queue_bytes, queue_records), (64 << 20, 100_000));
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
    let one_of_each = [
        ("servers", "nats://a:1, tls://[::1]"),
        ("user", "u"),
        ("password", "p"),
        ("domain", "leaf"),
        ("inbox", "a.b"),
        ("discover", "false"),
        ("tls.ca", files.path("ca.pem").to_str().unwrap()),
        ("tls.certificate", files.path("one.pem").to_str().unwrap()),
        ("tls.key", files.path("one.key").to_str().unwrap()),
        ("tls.handshake.first", "true"),
        ("request.timeout.ms", "100"),
        ("queue.bytes", "1024"),
        ("queue.records", "1"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let others = [("token", "t"), ("nkey", SEED), ("creds", &creds("a.b.c", SEED))];
    let covered = one_of_each.iter().map(|(name, _)| name.as_str()).chain(others.map(|(name, _)| name));
    assert_eq!(covered.collect::<BTreeSet<_>>(), keys::NAMES.iter().copied().collect());

    let variable = |name: &str| format!("SLUICEGATE_CLUSTERS__N__{}", name.to_uppercase().replace('.', "_"));
    let mut variables = vec![(variable("kind"), "nats".to_owned())];
    variables.extend(one_of_each.iter().map(|(name, value)| (variable(name), value.clone())));
    let loaded = |variables: &[(String, String)]| {
        let variables: Vec<_> =
            variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        format!("{:?}", load("", &variables).unwrap().clusters)
    };
    let shown = loaded(&variables);
    for part in
        ["nats://a:1", "tls://[::1]:4222", "user: \"u\"", "leaf", "a.b", "discover: false", "100ms", "1024"]
    {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(shown.contains("handshake_first: true") && !shown.contains("100000"), "{shown}");
    for (name, value) in others {
        let given = [("kind", "nats"), ("servers", "nats://a"), (name, value)];
        loaded(&given.map(|(name, value)| (variable(name), value.to_owned())));
        let file = files.write("value", &format!("{value}\n"));
        let mut given = given.map(|(name, value)| (variable(name), value.to_owned()));
        given[2] = (format!("{}__FILE", variable(name)), file.to_str().unwrap().to_owned());
        loaded(&given);
    }
}

#[test]
fn kind_is_one_of_two() {
    check(
        "[clusters.a]\nkind = \"rabbit\"\nqueue = 1\n",
        &[("SLUICEGATE_CLUSTERS__B__KIND", "Nats")],
        &[
            "clusters.a.kind: is \"rabbit\", expected \"kafka\" or \"nats\"",
            "SLUICEGATE_CLUSTERS__B__KIND: is \"Nats\", expected \"kafka\" or \"nats\"",
        ],
    );
    let kafka = format!("{CLUSTER}kind = \"kafka\"\n");
    assert!(matches!(load(&kafka, &[]).unwrap().clusters["default"], ClusterConfig::Kafka(_)));
}

#[test]
fn keys_of_the_other_kind_are_refused() {
    let or_nats = "or set `kind` to \"nats\"";
    let problems = [
        "password: is a key of NATS clusters: set `sasl.password`, or `kind` to \"nats\"".to_owned(),
        "servers: is a key of NATS clusters: set `bootstrap.servers`, or `kind` to \"nats\"".to_owned(),
        format!("token: is a key of NATS clusters: leave it out, {or_nats}"),
    ]
    .map(|problem| format!("clusters.default.{problem}"));
    let text = format!("{CLUSTER}servers = \"nats://a\"\ntoken = \"t\"\npassword = \"p\"\n");
    check(&text, &[], &problems.each_ref().map(String::as_str));
    refused(
        "bootstrap.servers = \"a:1\"\nlinger.ms = 5\nssl.ca.location = \"/nowhere\"\n",
        &[
            "bootstrap.servers: is a property of Kafka clusters: set `servers`, or leave out `kind`",
            "linger.ms: is a property of Kafka clusters: leave it out, or leave out `kind`",
            "ssl.ca.location: is a property of Kafka clusters: set `tls.ca`, or leave out `kind`",
        ],
    );
}

#[test]
fn unknown_keys_are_refused() {
    let unknown = "is not a key of NATS clusters";
    refused(
        "colour = \"red\"\nuser.name = \"u\"\ntls.handshake_first = true\nQueue-Bytes = 5\n\
         password.path = \"/nowhere\"\n",
        &[
            &format!("Queue-Bytes: {unknown}, did you mean `queue.bytes`?"),
            &format!("colour: {unknown}, see docs/reference/bridge-configuration.md"),
            &format!("password.path: {unknown}: set `password` to its value or to {{ file = \"…\" }}"),
            &format!("tls.handshake_first: {unknown}, did you mean `tls.handshake.first`?"),
            &format!("user.name: {unknown}: set `user` to its value or to {{ file = \"…\" }}"),
        ],
    );
}

#[test]
fn variables_alone_make_a_cluster_only_with_servers() {
    let password = ("SLUICEGATE_CLUSTERS__N__PASSWORD", "hidden");
    let kind = ("SLUICEGATE_CLUSTERS__N__KIND", "nats");
    let problem = "clusters.n: is set only by variables such as SLUICEGATE_CLUSTERS__N__PASSWORD: expected \
                   [clusters.n] in the file, or `servers` from the environment too";
    check(CLUSTER, &[kind, password], &[problem]);
    let in_file = format!("{CLUSTER}[clusters.n]\nkind = \"nats\"\nuser = \"u\"\n");
    assert!(load(&in_file, &[password, ("SLUICEGATE_CLUSTERS__N__SERVERS", "nats://a")]).is_ok());
}

#[test]
fn servers_are_urls() {
    for (servers, want) in [
        ("nats://a:1", &["nats://a:1"][..]),
        (" nats://A.example , tls://10.0.0.1:7 ", &["nats://a.example:4222", "tls://10.0.0.1:7"]),
        ("nats://[::1],nats://[::1]:5", &["nats://[::1]:4222", "nats://[::1]:5"]),
    ] {
        let text = format!("[clusters.n]\nkind = \"nats\"\nservers = {servers:?}\ntls.ca = \"/nowhere\"\n");
        let problems = load(&text, &[]).unwrap_err();
        assert!(problems.len() == 1 && problems[0].contains("tls.ca"), "{problems:?}");
        let Ok(ClusterConfig::Nats(config)) = load(&text.replace("tls.ca = \"/nowhere\"", ""), &[])
            .map(|mut config| config.clusters.remove("n").unwrap())
        else {
            panic!("{servers}")
        };
        let urls: Vec<&str> = config.servers.iter().map(|server| server.as_url_str()).collect();
        assert_eq!(urls, want);
        assert_eq!(config.tls.is_some(), servers.contains("tls://"), "{servers}");
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

#[test]
fn numbers_and_booleans_are_checked() {
    let number = "expected a whole number from";
    refused(
        "discover = \"yes\"\ntls.handshake.first = 1\nrequest.timeout.ms = 99\n\
         queue.bytes = \"64 MiB\"\nqueue.records = 0\n",
        &[
            "tls.handshake.first: is \"1\", expected true or false",
            "discover: is \"yes\", expected true or false",
            &format!("request.timeout.ms: is \"99\", {number} 100 to 60000"),
            &format!("queue.bytes: is \"64 MiB\", {number} 1024 to 2147483648"),
            &format!("queue.records: is \"0\", {number} 1 to 10000000"),
        ],
    );
    for (name, max) in
        [("request.timeout.ms", 60_000), ("queue.bytes", 1_u64 << 31), ("queue.records", 10_000_000)]
    {
        cluster(&format!("{name} = {max}"));
        assert!(load(&format!("{NATS}{name} = {}", max + 1), &[]).is_err(), "{name}");
    }
}

#[test]
fn all_problems_of_a_cluster_are_reported() {
    let text = "[clusters.n]\nkind = \"nats\"\ncolour = 1\nuser = \"u\"\ntoken = { file = \"/nowhere\" }\n\
                domain = \"a b\"\n\
                tls.key = \"/nowhere\"\nqueue.records = []\n";
    let timeout = ("SLUICEGATE_CLUSTERS__N__REQUEST_TIMEOUT_MS", "soon");
    let problems = load(text, &[timeout]).unwrap_err();
    let places: Vec<&str> = problems.iter().map(|problem| problem.split_once(": ").unwrap().0).collect();
    let mut want =
        ["colour", "queue.records", "token", "servers", "password", "tls.certificate", "tls.key", "domain"]
            .map(|name| format!("clusters.n.{name}"))
            .to_vec();
    want.push(timeout.0.to_owned());
    assert_eq!(places, want, "{problems:#?}");
}
