//! Clients without an identity, or with a forged one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use sluicegate_client::Client;
use sluicegate_stack::http::client::{Request, ask};
use sluicegate_stack::way::Way;
use sluicegate_tests::in_ways;

use crate::identity::stacks::{http, of_gateway, session, status, token};

in_ways! {
    [tunnel full relay]
    client_without_an_identity_is_told_to_log_in
    headers_of_clients_are_no_identity
}

async fn client_without_an_identity_is_told_to_log_in(way: Way) {
    let stack = of_gateway(way).await;
    assert_eq!(status(session(&stack, None).await), 401);
    for path in ["/kafka/topics", "/pubsub"] {
        let answer = http(&stack, None, Request::get(path)).await;
        assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("Bearer")), "{path}");
        assert_eq!(answer.json()["detail"], "log in first: this route asks who you are", "{path}");
    }
    // The gateway itself refuses tokens that it cannot verify.
    let mut forged = token("alice", &json!({}), 600);
    forged.replace_range(forged.len() - 4.., "AAAA");
    for bad in [&forged, &token("alice", &json!({}), -120), "x.y.z"] {
        assert_eq!(status(session(&stack, Some(bad)).await), 401);
        assert_eq!(http(&stack, Some(bad), Request::get("/kafka/topics")).await.status, 401);
    }
}

async fn headers_of_clients_are_no_identity(way: Way) {
    let stack = of_gateway(way).await;
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
        assert_eq!(status(forged.connect().await), 401, "{path}");
    }
    // Where the gateway verifies nothing, a good token is nothing either.
    let good = token("alice", &json!({}), 600);
    assert_eq!(http(&stack, Some(&good), Request::get("/unverified-kafka/topics")).await.status, 401);
    assert_eq!(http(&stack, Some(&good), Request::get("/kafka/topics")).await.status, 200);
}
