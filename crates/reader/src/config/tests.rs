//! Properties of librdkafka: what is taken, and what is refused.

use super::*;

/// A configuration of these properties, or its problems in words.
pub(crate) fn read(pairs: &[(&str, &str)]) -> Result<Config, Vec<String>> {
    let properties = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    Config::from_properties(&properties.collect())
        .map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

/// The same with a bootstrap server.
fn read_with(key: &str, value: &str) -> Result<Config, Vec<String>> {
    read(&[("bootstrap.servers", "a:1"), (key, value)])
}

#[test]
fn bootstrap_servers_are_required_and_enough() {
    let expected = "expected `host:port[,host:port…]`";
    for (properties, problem) in [(&[][..], "required"), (&[("bootstrap.servers", " , ")], "empty")] {
        let want = [format!("`bootstrap.servers`: is {problem}: {expected}")];
        assert_eq!(read(properties).expect_err("no servers"), want);
    }
    for key in ["bootstrap.servers", "metadata.broker.list"] {
        let config = read(&[(key, "a:1, b")]).expect("a configuration");
        let addresses: Vec<String> = config.bootstrap.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["a:1", "b:9092"]);
        assert_eq!(config.client_id, "sluicegate");
        assert_eq!(config.request_timeout, Duration::from_secs(5));
    }
}

#[test]
fn documented_properties_are_validated() {
    let long = "x".repeat(MAX_NAME + 1);
    for (property, wrong) in [
        ("metadata.broker.list", "b:1"),
        ("client.id", &long),
        ("client.rack", &long),
        ("socket.timeout.ms", "9"),
        ("socket.connection.setup.timeout.ms", "9"),
        ("socket.nagle.disable", "x"),
        ("socket.send.buffer.bytes", "x"),
        ("socket.receive.buffer.bytes", "x"),
        ("connections.max.idle.ms", "x"),
        ("reconnect.backoff.ms", "x"),
        ("reconnect.backoff.max.ms", "x"),
        ("metadata.max.age.ms", "0"),
        ("receive.message.max.bytes", "16383"),
        ("message.max.bytes", "999"),
    ] {
        let problems = read_with(property, wrong).expect_err(property);
        assert!(problems.len() == 1 && problems[0].starts_with(&format!("`{property}`: ")), "{problems:?}");
    }
}

#[test]
fn unsupported_values_are_rejected_and_unknown_properties_ignored() {
    let isolation = "expected `read_uncommitted`; each fetch chooses `read_committed` for itself";
    let dns = "expected `use_all_dns_ips`, no other value is supported, got `x`";
    for (key, value, want) in [
        ("isolation.level", "read_committed", isolation),
        ("isolation.level", "2", "expected `read_uncommitted`, got `2`"),
        ("api.version.request", "false", "expected `true`, no other value is supported"),
        ("client.dns.lookup", "x", dns),
    ] {
        assert_eq!(read_with(key, value).expect_err(value), [format!("`{key}`: {want}")]);
    }
    for (key, value) in [
        ("queued.min.messages", "x"),
        ("api.version.request", "true"),
        ("client.dns.lookup", "use_all_dns_ips"),
    ] {
        read_with(key, value).expect(key);
    }
    assert_eq!(read_with("connections.max.idle.ms", "0").expect("no limit").max_idle, None);
}

#[test]
fn all_problems_are_reported_at_once() {
    let problems = read(&[
        ("bootstrap.servers", "a:x,b:70000"),
        ("security.protocol", "SASL_SSL"),
        ("ssl.ca.location", "/nowhere"),
        ("ssl.keystore.password", "secret"),
        ("sasl.mechanism", "PLAIN"),
        ("sasl.password", "secret"),
        ("socket.timeout.ms", "soon"),
        ("socket.keepalive.enable", "maybe"),
        ("broker.address.family", "ipx"),
    ]);
    assert_eq!(
        problems.expect_err("problems"),
        [
            "`ssl.ca.location`: cannot read `/nowhere`: No such file or directory (os error 2)",
            "`sasl.username`: is required: expected the name of a user",
            "`ssl.keystore.password`: is not supported: use PEM files, with `openssl pkcs12 -in KEYSTORE -out \
             client.pem`, for `ssl.certificate.location`, `ssl.key.location` (with `ssl.key.password`) and \
             `ssl.ca.location`; convert a JKS file before, with `keytool -importkeystore -srckeystore OLD \
             -destkeystore KEYSTORE -deststoretype pkcs12`",
            "`bootstrap.servers`: expected a port from 1 to 65535 in `a:x`",
            "`bootstrap.servers`: expected a port from 1 to 65535 in `b:70000`",
            "`socket.timeout.ms`: expected 10 to 300000 milliseconds, got `soon`",
            "`socket.keepalive.enable`: expected `true` or `false`, got `maybe`",
            "`broker.address.family`: expected `any`, `v4` or `v6`, got `ipx`",
        ]
    );
}
