//! Routes with their own cluster, each of which acts as its own user.

use futures_util::future::{join, join_all};
use serde_json::{Value, json};
use sluicegate_stack::folder::Folder;
use sluicegate_stack::http::client::{self, Request};
use sluicegate_stack::kafka::secured::{OUTSIDER, READER, Secured, listener, password};
use sluicegate_stack::secrets::{secret, shown_in};

use crate::secured::gateway::{carrying, cause, open};
use crate::secured::log;

const TOPIC_AUTHORIZATION_FAILED: i32 = 29;

/// The `kafka` of a route: a user with PLAIN.
pub(crate) fn plain(secured: &Secured, user: &str) -> Value {
    sasl(secured, listener::SASL, user, &password(user), "PLAIN")
}

/// A user at one of the listeners.
fn sasl(secured: &Secured, listener: &str, user: &str, password: &str, mechanism: &str) -> Value {
    let nodes = secured.kafka.bootstrap_of(listener).unwrap();
    json!({"nodes": {nodes: 1}, "sasl": {"username": user, "password": password, "mechanism": mechanism}})
}

#[tokio::test]
async fn routes_of_one_kafka_act_each_as_their_own_user() {
    let secured = Secured::shared().await.unwrap();
    let log = log(&secured.kafka).await;
    let folder = Folder::new("authority").unwrap();
    let ca = folder.write("ca.pem", &secured.authority.pem()).unwrap();
    let wrong = secret("of-nobody-at-all");
    let tls = |verify: bool, user: &str| {
        let mut kafka = sasl(secured, listener::SASL_SSL, user, &password(user), "SCRAM-SHA-512");
        kafka["tls"] = json!({"verify": verify});
        kafka
    };
    // TLS without a user, where another authority has signed the certificate.
    let foreign = secured.kafka.bootstrap_of(listener::FOREIGN).unwrap();
    let foreign = |tls: Value| json!({"nodes": [foreign], "tls": tls});
    let routes = [
        ("reader", plain(secured, READER)),
        ("outsider", plain(secured, OUTSIDER)),
        ("wrong", sasl(secured, listener::SASL, READER, &wrong, "PLAIN")),
        ("scram", sasl(secured, listener::SASL, READER, &password(READER), "SCRAM-SHA-256")),
        ("tls", tls(true, READER)),
        ("tls-outsider", tls(true, OUTSIDER)),
        ("tls-unverified", tls(false, READER)),
        ("foreign", foreign(json!({}))),
        ("foreign-unverified", foreign(json!({"verify": false}))),
    ];
    let sessions = routes.map(|(name, kafka)| json!({"path": format!("/{name}"), "kafka": kafka}));
    let rest = [READER, OUTSIDER]
        .map(|user| json!({"path": format!("/rest-{user}"), "type": "rest", "kafka": plain(secured, user)}));
    let trusting = format!("[route_clusters.properties]\nssl.ca.location = {ca:?}");
    let stack = carrying(sessions.into_iter().chain(rest), &trusting).await;
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
        said.extend(join(join_all(may.map(read)), join_all(may_not.map(fail))).await.1);
    }
    let records = format!("/topics/{}/partitions/0/records?offset=0", log.topic);
    for (name, status) in [(READER, 200), (OUTSIDER, 403), (READER, 200)] {
        let answer = client::ask(stack.gateway(), Request::get(format!("/rest-{name}{records}"))).await;
        assert_eq!(answer.status, status, "{name}: {}", answer.text());
        if status == 403 {
            said.push_str(answer.text());
        }
    }
    let metrics = stack.bridge.metrics("sluicegate_").await.unwrap();
    assert!(metrics.iter().any(|(name, _)| name.contains(r#"{cluster="route"}"#)), "{metrics:?}");
    assert_eq!(shown_in(&format!("{said}{metrics:?}")), [""; 0]);
}
