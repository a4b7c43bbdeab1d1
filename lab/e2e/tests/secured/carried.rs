//! Routes with their own cluster: identities, allowed brokers, and the end of idle connections.

use std::net::SocketAddr;
use std::time::Duration;
use std::{fs, path::PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use futures_util::future::join_all;
use prost::Message as _;
use sluicegate_protocol::cluster_definition::Sasl;
use sluicegate_protocol::{ClusterDefinition, ProduceRecord};
use sluicegate_stack::envoy::Profile;
use sluicegate_stack::folder::Folder;
use sluicegate_stack::http::client::{self, Request};
use sluicegate_stack::kafka::secured::{OUTSIDER, READER, Secured, WRITABLE, WRITER, listener, password};
use sluicegate_stack::secrets::{secret, shown_in};
use sluicegate_stack::socket::Socket;
use sluicegate_stack::stack::Stack;
use sluicegate_stack::waiting::becomes;
use sluicegate_tests::in_a_tunnel;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;

use crate::secured::gateway::{Route, carrying, open};
use crate::secured::logged::cause;
use crate::secured::records::log;

const TOPIC_AUTHORIZATION_FAILED: i32 = 29;
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// The `kafka` of a route: a user at one of the listeners.
fn kafka(
    secured: &Secured,
    listener: &str,
    tls: &str,
    user: &str,
    password: &str,
    mechanism: &str,
) -> String {
    let nodes = secured.kafka.bootstrap_of(listener).unwrap();
    format!(
        r#""kafka": {{"nodes": {{"{nodes}": 1}}{tls}, "sasl": {{"username": "{user}", "password": "{password}", "mechanism": "{mechanism}"}}}}"#
    )
}

pub(crate) fn plain(secured: &Secured, user: &str) -> String {
    kafka(secured, listener::SASL, "", user, &password(user), "PLAIN")
}

/// The same as it travels.
fn definition(secured: &Secured, user: &str) -> String {
    let sasl = Sasl { username: user.into(), password: password(user), mechanism: "PLAIN".into() };
    let nodes = vec![secured.kafka.bootstrap_of(listener::SASL).unwrap()];
    STANDARD_NO_PAD.encode(ClusterDefinition { nodes, tls: None, sasl: Some(sasl) }.encode_to_vec())
}

/// A bridge's settings that allow these brokers, with more keys of `[route_clusters]`.
pub(crate) fn allowing(hosts: &str, keys: &str) -> String {
    format!(
        "gateway_secret = \"{}\"\n[route_clusters]\nallowed_hosts = [\"{hosts}\"]\n{keys}",
        gateway_secret()
    )
}

fn gateway_secret() -> String {
    secret("between-gateway-and-bridge")
}

/// The filter's keys with the secret.
pub(crate) fn keys() -> String {
    format!("\"gateway_secret\": \"{}\",", gateway_secret())
}

/// The file of the authority that signed the brokers' certificates, as a property of all routes.
fn trusting(secured: &Secured) -> (Folder, String) {
    let folder = Folder::new("authority").unwrap();
    let ca: PathBuf = folder.write("ca.pem", &secured.authority.pem()).unwrap();
    (folder, format!("[route_clusters.properties]\nssl.ca.location = {ca:?}\n"))
}

/// Number of connections of the bridge to a listener.
fn connections(stack: &Stack, secured: &Secured, listener: &str) -> usize {
    let bootstrap = secured.kafka.bootstrap_of(listener).unwrap();
    let (_, port) = bootstrap.rsplit_once(':').unwrap();
    let to = SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap()));
    stack.bridge.process.connections(to).unwrap().len()
}

async fn routes_of_one_kafka_act_each_as_their_own_user(profile: Profile) {
    let secured = Secured::shared().await.unwrap();
    let log = log(&secured.kafka).await;
    let (_folder, trusting) = trusting(secured);
    let wrong = secret("of-nobody-at-all");
    let scram = |listener, tls, user| kafka(secured, listener, tls, user, &password(user), "SCRAM-SHA-512");
    let (verified, trusted) = (r#", "tls": {"verify": true}"#, r#", "tls": {"verify": false}"#);
    let routes = [
        Route::session("/reader", &plain(secured, READER)),
        Route::session("/outsider", &plain(secured, OUTSIDER)),
        Route::session("/wrong", &kafka(secured, listener::SASL, "", READER, &wrong, "PLAIN")),
        Route::session(
            "/scram",
            &kafka(secured, listener::SASL, "", READER, &password(READER), "SCRAM-SHA-256"),
        ),
        Route::session("/tls", &scram(listener::SASL_SSL, verified, READER)),
        Route::session("/tls-outsider", &scram(listener::SASL_SSL, verified, OUTSIDER)),
        Route::session("/tls-unverified", &scram(listener::SASL_SSL, trusted, READER)),
        Route::session("/foreign", &foreign(secured, "")),
        Route::session("/foreign-unverified", &foreign(secured, r#""verify": false"#)),
        Route::rest("/rest-reader", &plain(secured, READER)),
        Route::rest("/rest-outsider", &plain(secured, OUTSIDER)),
    ];
    let stack = carrying(profile, &routes, &allowing("localhost:*", &trusting), &keys()).await;
    let may = ["reader", "scram", "tls", "tls-unverified", "foreign-unverified"];
    let may_not = [
        ("outsider", "TOPIC_AUTHORIZATION_FAILED"),
        ("tls-outsider", "TOPIC_AUTHORIZATION_FAILED"),
        ("wrong", "SASL_AUTHENTICATION_FAILED"),
        ("foreign", "not signed by a trusted CA"),
    ];
    let mut said = String::new();
    for _ in 0..2 {
        // Each in turn, and all at the same time.
        let read = async |name: &str| log.check_walk(&mut open(&stack, name).await, name).await;
        let fail = async |(name, why): (&str, &str)| {
            let error = open(&stack, name).await.fetch(&log.topic, 0, 0).await.unwrap_err();
            assert!(!error.retriable, "{name}: {error:?}");
            let of_topic = error.code == TOPIC_AUTHORIZATION_FAILED;
            let told = if of_topic { error.message.clone() } else { cause(&stack, &error.message) };
            assert!(told.contains(why), "{name}: {told}");
            assert_eq!(of_topic, why == "TOPIC_AUTHORIZATION_FAILED", "{name}: {error:?}");
            format!("{error:?}\n")
        };
        let together = futures_util::future::join(join_all(may.map(read)), join_all(may_not.map(fail)));
        said.extend(together.await.1);
    }
    let records = format!("/topics/{}/partitions/0/records?offset=0", log.topic);
    for (name, status) in [("reader", 200), ("outsider", 403), ("reader", 200)] {
        let answer = client::ask(stack.gateway(), Request::get(format!("/rest-{name}{records}"))).await;
        assert_eq!(answer.status, status, "{name}: {}", answer.text());
        if status == 403 {
            said.push_str(answer.text());
        }
    }
    let metrics = stack.bridge.metrics("sluicegate_").await.unwrap();
    assert!(metrics.iter().any(|(name, _)| name.contains(r#"{cluster="route"}"#)), "{metrics:?}");
    assert_eq!(shown_in(&format!("{said}{metrics:?}")), [""; 0]);
    let trace = fs::read_to_string(stack.bridge.process.log()).unwrap();
    assert!(trace.contains("TRACE"), "the bridge's log is not at its most talkative");
}

/// TLS without a user, where another authority has signed the certificate.
fn foreign(secured: &Secured, verify: &str) -> String {
    let nodes = secured.kafka.bootstrap_of(listener::FOREIGN).unwrap();
    format!(r#""kafka": {{"nodes": ["{nodes}"], "tls": {{{verify}}}}}"#)
}

#[tokio::test]
async fn definitions_of_clients_are_ignored() {
    let secured = Secured::shared().await.unwrap();
    let log = log(&secured.kafka).await;
    let forged = definition(secured, READER);
    let routes = [
        Route::session("/outsider", &plain(secured, OUTSIDER)),
        Route::rest("/rest", &plain(secured, OUTSIDER)),
        Route::session("/named", r#""cluster": "default""#),
    ];
    let named = "[clusters.default]\nbootstrap.servers = \"127.0.0.1:1\"\n";
    let stack = carrying(Profile::Tunnel, &routes, &allowing("localhost:*", named), &keys()).await;
    for (path, why) in [("outsider", "TOPIC_AUTHORIZATION_FAILED"), ("named", "127.0.0.1:1")] {
        let mut request = format!("ws://{}/{path}", stack.gateway()).into_client_request().unwrap();
        for (name, value) in [
            ("sluicegate-cluster-definition", forged.as_str()),
            ("Sluicegate-Cluster", "default"),
            ("sluicegate-gateway-secret", &gateway_secret()),
        ] {
            request
                .headers_mut()
                .insert(name.parse::<http::HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
        }
        let mut socket = Socket::open_with(request).await;
        let error = socket.fetch(&log.topic, 0, 0).await.unwrap_err();
        let of_topic = error.code == TOPIC_AUTHORIZATION_FAILED;
        let told = if of_topic { error.message } else { cause(&stack, &error.message) };
        assert!(told.contains(why), "{path}: {told}");
    }
    let records = format!("/rest/topics/{}/partitions/0/records?offset=0", log.topic);
    let request = Request::get(records).with("sluicegate-cluster-definition", &forged);
    assert_eq!(client::ask(stack.gateway(), request).await.status, 403);
}

#[tokio::test]
async fn unused_connections_are_closed() {
    let secured = Secured::shared().await.unwrap();
    let log = log(&secured.kafka).await;
    let topic = &secured.kafka.topic(WRITABLE, 1, &[]).await.unwrap();
    let routes = [
        Route::session("/reader", &plain(secured, READER)),
        Route::session("/writer", &format!("\"write\": true, {}", plain(secured, WRITER))),
        Route::produce("/produce", topic, &plain(secured, WRITER)),
    ];
    // Records wait for others far longer than a cluster may be unused.
    let settings = allowing(
        "localhost:*",
        "write = true\nidle_timeout_ms = 500\n[route_clusters.properties]\nlinger.ms = 3000\n",
    );
    let stack = carrying(Profile::Tunnel, &routes, &settings, &keys()).await;
    let open_ones = || connections(&stack, secured, listener::SASL);

    let mut reader = open(&stack, "reader").await;
    log.check_walk(&mut reader, "reader").await;
    let mut other = open(&stack, "reader").await;
    log.check_walk(&mut other, "other").await;
    let of_reader = open_ones();
    assert!(of_reader > 0);
    let asynchronous = Request::post("/produce", "value").with("prefer", "respond-async");
    let answer = client::ask(stack.gateway(), asynchronous).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    assert!(open_ones() > of_reader);
    // Accepted records are delivered, and then the writer's connections are closed; the reader's are not, though it is
    // silent.
    becomes("the writer's connections are closed", of_reader, SOON, async || open_ones()).await;
    assert_eq!(secured.kafka.watermarks(topic, 0).unwrap(), (0, 1));
    log.check_walk(&mut reader, "reader").await;
    drop(reader);
    log.check_walk(&mut other, "other").await;
    drop(other);
    becomes("all connections are closed", 0, SOON, async || open_ones()).await;

    // Clients that come again find a new one, and its producer.
    log.check_walk(&mut open(&stack, "reader").await, "again").await;
    let record =
        ProduceRecord { topic: topic.clone(), value: Some("again".into()), ..ProduceRecord::default() };
    let produced = open(&stack, "writer").await.produce(vec![record]).await.unwrap();
    assert_eq!(produced[0].offset, 1, "{produced:?}");
}

in_a_tunnel! {
    routes_of_one_kafka_act_each_as_their_own_user
}
