//! `[route_clusters]`: what is accepted, and what a definition comes to.

use super::*;
use crate::config::Config;
use crate::config::tests::{check, check_each, load};

const SECRET: &str = "gateway_secret = \"s3cret-of-the-gateway\"\n";

fn allows(config: &Config, node: &str) -> bool {
    config.route_clusters.allows(&Node::parse(node).unwrap())
}

#[test]
fn nothing_is_allowed_by_default() {
    let config = load("[clusters.default]\nbootstrap.servers = \"kafka:9092\"\n", &[]).unwrap();
    assert!(!allows(&config, "kafka:9092") && !allows(&config, "127.0.0.1:9092"));
    let RouteClusters { write, max, idle_timeout, .. } = config.route_clusters;
    assert_eq!((write, max, idle_timeout), (false, 100, Duration::from_secs(60)));
}

#[test]
fn file_and_environment_set_every_key() {
    let text = format!(
        "{SECRET}[route_clusters]\nallowed_hosts = [\"kafka-1:9092\", \"*.svc:*\"]\nwrite = true\n\
         max = 7\nidle_timeout_ms = 500\n\
         [route_clusters.properties]\nclient.id = \"hidden\"\n"
    );
    let variables = [
        ("SLUICEGATE_ROUTE_CLUSTERS__ALLOWED_HOSTS", "kafka-1:9092, *.svc:*"),
        ("SLUICEGATE_ROUTE_CLUSTERS__WRITE", "true"),
        ("SLUICEGATE_ROUTE_CLUSTERS__MAX", "7"),
        ("SLUICEGATE_ROUTE_CLUSTERS__IDLE_TIMEOUT_MS", "500"),
        ("SLUICEGATE_ROUTE_CLUSTERS__PROPERTIES__CLIENT_ID", "hidden"),
    ];
    let (of_file, of_environment) = (load(&text, &[]).unwrap(), load(SECRET, &variables));
    for config in [of_file, of_environment.unwrap()] {
        assert!(
            allows(&config, "kafka-1:9092") && allows(&config, "a.svc:1") && !allows(&config, "kafka-1:9093")
        );
        let routes = &config.route_clusters;
        assert_eq!((routes.write, routes.max, routes.idle_timeout), (true, 7, Duration::from_millis(500)));
        assert_eq!(routes.properties["client.id"].text.as_deref(), Ok("hidden"));
        let shown = format!("{config:?}");
        assert!(shown.contains("client.id") && !shown.contains("hidden"), "{shown}");
    }
}

#[test]
fn all_problems_are_reported_with_their_key() {
    check_each(
        str::to_owned,
        r#"
gateway_secret = "s3cret-of-the-gateway"
[route_clusters]
allowed_hosts = ["*"]
write = 1
max = 0
idle_timeout_ms = 99
allowed = []
properties = { client.ids = "x", linger.ms = "soon", ssl.ca.location = "/nowhere" }
[clusters.route]
bootstrap.servers = "kafka:1"
    route_clusters.allowed_hosts: has "*", expected hosts and ports such as "kafka-1.example:9092",
        "*.kafka.svc:9092" or "10.0.0.1:*"; IPv6 addresses in brackets
    route_clusters.write: is 1, expected true or false
    route_clusters.max: is 0, expected a whole number from 1 to 10000
    route_clusters.idle_timeout_ms: is 99, expected a whole number from 100 to 3600000
    route_clusters.allowed: is not a key of this configuration, did you mean `route_clusters.allowed_hosts`?
    route_clusters.properties.client.ids: is not a librdkafka property, did you mean `client.id`?
    route_clusters.properties.ssl.ca.location: cannot read `/nowhere`: No such file or directory (os error 2)
    route_clusters.properties.linger.ms: is rejected by librdkafka: Invalid value for configuration property
        "queue.buffering.max.ms"
[clusters.route]
bootstrap.servers = "kafka:1"
[route_clusters]
allowed_hosts = ["kafka:1"]
    route_clusters.allowed_hosts: needs authenticated gateways: set `gateway_secret` or `tls.client_ca`
    clusters.route: is the name that metrics use for clusters of routes: choose another
"#,
    );
}

#[test]
fn properties_that_routes_set_are_refused() {
    let of_routes = "bootstrap.servers metadata.broker.list security.protocol sasl.mechanism sasl.password \
                     sasl.oauthbearer.method enable.ssl.certificate.verification";
    for property in of_routes.split(' ') {
        let text = format!(
            "[clusters.a]\nbootstrap.servers = \"a:1\"\n[route_clusters.properties]\n{property} = \"hidden\"\n"
        );
        let problem = "is set by the route, in its `kafka`: remove it";
        check(&text, &[], &[&format!("route_clusters.properties.{property}: {problem}")]);
    }
}

#[test]
fn definition_and_common_properties_make_a_cluster() {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    let certificate = rcgen::generate_simple_self_signed(vec!["kafka".to_owned()]).unwrap().cert.pem();
    std::fs::write(&ca, certificate).unwrap();
    let text = format!(
        "{SECRET}[route_clusters]\nallowed_hosts = [\"kafka:*\"]\n[route_clusters.properties]\n\
         ssl.ca.location = {ca:?}\n\
         ssl.endpoint.identification.algorithm = \"none\"\nclient.id = \"routes\"\n"
    );
    let routes = load(&text, &[]).unwrap().route_clusters;
    let nodes: Vec<Node> = ["kafka:1", "[::1]:2"].iter().filter_map(|node| Node::parse(node)).collect();
    let sasl = Some(("PLAIN", "reader", "hidden"));
    for (verify, sasl, want) in [
        (None, None, "protocol: Plaintext"),
        (None, sasl, "protocol: SaslPlaintext"),
        (Some(true), None, "protocol: Ssl"),
        (Some(false), None, "protocol: Ssl"),
        (Some(true), sasl, "protocol: SaslSsl"),
        (Some(false), sasl, "protocol: SaslSsl"),
    ] {
        let cluster = routes.cluster(&DefinedCluster { nodes: &nodes, verify, sasl }).unwrap();
        let shown = format!("{cluster:?} {routes:?}");
        for want in [want, r#"host: "kafka", port: 1"#, r#"host: "::1", port: 2"#, r#"client_id: "routes""#] {
            assert!(shown.contains(want), "{want}: {shown}");
        }
        assert!(!shown.contains("hidden"), "{shown}");
        // Librdkafka takes it, too.
        assert_eq!(cluster.check_writable(), Ok(()));
    }
}
