//! Clients without an identity, or with a forged one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use sluicegate_client::{Client, ConnectError};
use sluicegate_stack::http::client::{Request, ask};
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::way::Way;
use sluicegate_tests::in_every_profile;

use crate::identity::stacks::{BELIEVED, http, session, start, token};

in_every_profile! {
    client_without_an_identity_is_told_to_log_in
    headers_of_clients_are_no_identity
    anonymous_clients_have_no_claims
    identity_needs_a_bridge_that_believes_gateways
}

const KEYS: &str = r#""identity": {"from": "jwt_authn", "payload": "claims"}, "topics": ["*"]"#;

/// The status of a refused session.
async fn refused(stack: &sluicegate_stack::stack::Stack, token: Option<&str>) -> u16 {
    match session(stack, token).await {
        Err(ConnectError::Refused { status, .. }) => status,
        other => panic!("{other:?}"),
    }
}

async fn client_without_an_identity_is_told_to_log_in(way: Way) {
    let kafka = Kafka::shared().await.unwrap();
    let stack = start(way, kafka, KEYS, BELIEVED).await;
    assert_eq!(refused(&stack, None).await, 401);
    let answer = http(&stack, None, Request::get("/kafka/topics")).await;
    assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("Bearer")));
    assert_eq!(answer.json()["detail"], "log in first: this route asks who you are");
    // The gateway itself refuses tokens that it cannot verify.
    let mut forged = token("alice", &json!({}), 600);
    forged.replace_range(forged.len() - 4.., "AAAA");
    for bad in [&forged, &token("alice", &json!({}), -120), "x.y.z"] {
        assert_eq!(refused(&stack, Some(bad)).await, 401);
        assert_eq!(http(&stack, Some(bad), Request::get("/kafka/topics")).await.status, 401);
    }
}

async fn headers_of_clients_are_no_identity(way: Way) {
    let kafka = Kafka::shared().await.unwrap();
    let stack = start(way, kafka, KEYS, BELIEVED).await;
    let claims = STANDARD.encode(json!({"iss": "x", "sub": "alice", "exp": 4_000_000_000_u64}).to_string());
    let headers = [
        ("sluicegate-identity", claims.as_str()),
        ("sluicegate-access", r#"{"read":[{"topic":"*"}]}"#),
        ("x-claims", &claims),
        ("x-sluicegate-identity", &claims),
    ];
    for path in ["/kafka", "/unverified-kafka"] {
        for (name, value) in headers {
            let request = Request::get(format!("{path}/topics")).with(name, value);
            assert_eq!(ask(stack.gateway(), request).await.status, 401, "{path} with {name}");
        }
    }
    for path in ["/pubsub", "/unverified"] {
        let url = format!("ws://{}{path}", stack.gateway());
        let forged =
            headers.iter().fold(Client::builder(url), |builder, (name, value)| builder.header(*name, *value));
        let opened = forged.connect().await;
        assert!(matches!(opened, Err(ConnectError::Refused { status: 401, .. })), "{path}: {opened:?}");
    }
    // Where the gateway verifies nothing, a good token is nothing either.
    let good = token("alice", &json!({}), 600);
    assert_eq!(http(&stack, Some(&good), Request::get("/unverified-kafka/topics")).await.status, 401);
    assert_eq!(http(&stack, Some(&good), Request::get("/kafka/topics")).await.status, 200);
}

async fn anonymous_clients_have_no_claims(way: Way) {
    let kafka = Kafka::shared().await.unwrap();
    let shared = kafka.topic("anonymous", 1, &[]).await.unwrap();
    let own = format!("{shared}.alice");
    kafka.make_topic(&own, 1, &[]).await.unwrap();
    let keys = format!(
        r#""identity": {{"from": "jwt_authn", "payload": "claims", "anonymous": true}},
           "topics": ["{shared}", "{shared}.${{sub}}"]"#
    );
    let stack = start(way, kafka, &keys, BELIEVED).await;
    let status = async |token: Option<&str>, topic: &str| {
        let path = format!("/kafka/topics/{topic}/partitions/0/offsets");
        http(&stack, token, Request::get(path)).await.status
    };
    let alice = token("alice", &json!({}), 600);
    assert_eq!((status(None, &shared).await, status(None, &own).await), (200, 403));
    assert_eq!((status(Some(&alice), &shared).await, status(Some(&alice), &own).await), (200, 200));
    let client = session(&stack, None).await.unwrap();
    assert!(client.fetch(&shared, 0, 0).await.is_ok() && client.fetch(&own, 0, 0).await.is_err());
}

async fn identity_needs_a_bridge_that_believes_gateways(way: Way) {
    let kafka = Kafka::shared().await.unwrap();
    let stack = start(way, kafka, KEYS, "").await;
    let alice = token("alice", &json!({}), 600);
    let answer = http(&stack, Some(&alice), Request::get("/kafka/topics")).await;
    assert_eq!(answer.status, 502, "{}", answer.text());
    assert!(session(&stack, Some(&alice)).await.is_err());
    assert_eq!(refused(&stack, None).await, 401);
}
