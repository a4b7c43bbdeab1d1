//! Tokens that the bridge verifies: forged ones open nothing. `crates/identity` has each way to forge one, and `wasm/tests`
//! the places where tokens can be.

use serde_json::json;
use sluicegate_client::Client;
use sluicegate_stack::folder::Folder;
use sluicegate_stack::http::client::Request;
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::tokens::Signer;
use sluicegate_stack::way::Way;
use sluicegate_tests::in_ways;

use crate::identity::stacks::{
    ISSUER, SIGNER, config, good, http, now, of_bridge, offsets, post, session, status, token,
    topics_of_people,
};
use crate::pool::SECRET;

in_ways! {
    [tunnel full relay apisix]
    forged_tokens_open_nothing
}

async fn forged_tokens_open_nothing(way: Way) {
    let topic = Kafka::shared().await.unwrap().topic("open-forged", 1, &[]).await.unwrap();
    let stack = of_bridge(way).await;
    let claims = json!({"iss": ISSUER, "sub": "alice", "aud": "app", "exp": now() + 600});
    for (name, forged) in &[
        ("foreign key", Signer::new().unwrap().sign_json(&claims).unwrap()),
        ("other audience", token("alice", &json!({"aud": "other"}), 600)),
        ("not a token", "alice".to_owned()),
        ("too long", "a".repeat(8193)),
    ] {
        let answer = http(&stack, Some(forged), offsets(&topic)).await;
        // APISIX itself takes 8 KiB of one header line.
        let is_refused =
            answer.status == 401 || way == Way::Apisix && *name == "too long" && answer.status == 400;
        assert!(is_refused, "{name}: {} {}", answer.status, answer.text());
        assert!(!answer.text().contains(forged.as_str()), "{name}");
        let events =
            Request::get(format!("/kafka/topics/{topic}/events")).with("accept", "text/event-stream");
        for request in [events, post(&topic)] {
            assert!(matches!(http(&stack, Some(forged), request).await.status, 400 | 401), "{name}");
        }
        if way != Way::Apisix {
            assert!(matches!(status(session(&stack, Some(forged)).await), 400 | 401), "{name}");
        }
    }
    assert_eq!(http(&stack, Some(&good("alice")), offsets(&topic)).await.status, 200);
}

/// A gateway without the filter sets the headers itself. Sessions keep their rights when keys are replaced.
#[tokio::test]
async fn other_gateways_relay_policy_and_token() {
    let shared = topics_of_people(Kafka::shared().await.unwrap(), "relayed").await;
    let own = format!("{shared}.alice");
    let folder = Folder::new("replaced-keys").unwrap();
    let keys = folder.write("keys.json", &SIGNER.key_set()).unwrap();
    let table = format!("[identity.main]\nissuer = {ISSUER:?}\naudience = [\"app\"]\njwks_file = {keys:?}");
    let mut stack = config(Way::Direct, &json!({}), &table).await.own().await;
    let url = stack.url();
    let policy = format!(r#"{{"identity":{{"token":"main"}},"read":[{{"topic":"{shared}.${{sub}}"}}]}}"#);
    let open = async |policy: &str, token: Option<&str>| {
        let gateway = Client::builder(&url).header("sluicegate-gateway-secret", SECRET);
        let gateway = gateway.header("sluicegate-access", policy);
        let gateway = token.into_iter().fold(gateway, |all, token| all.header("sluicegate-token", token));
        gateway.connect().await
    };
    let [alice, bob] = ["alice", "bob"].map(good);
    let opened = open(&policy, Some(&alice)).await.unwrap();
    assert!(opened.fetch(&own, 0, 0).await.is_ok());
    assert!(open(&policy, Some(&bob)).await.unwrap().fetch(&own, 0, 0).await.is_err());
    for (policy, token, want) in [
        (&policy[..], None, 401),
        (&policy, Some("a.b.c"), 401),
        ("{}", Some(&alice[..]), 400),
        (r#"{"newer":[]}"#, None, 400),
        (r#"{"identity":{"token":"unknown"},"read":[]}"#, Some(&alice), 404),
    ] {
        assert_eq!(status(open(policy, token).await), want, "{policy}");
    }

    let signer = Signer::new().unwrap();
    let claims = json!({"iss": ISSUER, "sub": "alice", "aud": "app", "exp": now() + 600});
    let by_new_key = signer.sign_json(&claims).unwrap();
    assert_eq!(status(open(&policy, Some(&by_new_key)).await), 401);
    folder.write("keys.json", &signer.key_set()).unwrap();
    stack.bridge.reconfigure(|text| text).await.unwrap();
    assert_eq!(status(open(&policy, Some(&alice)).await), 401);
    assert!(open(&policy, Some(&by_new_key)).await.unwrap().fetch(&own, 0, 0).await.is_ok());
    assert!(opened.fetch(&own, 0, 0).await.is_ok());
}
