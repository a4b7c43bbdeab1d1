//! Operators who list who is here, and end sessions: the command line at a real bridge.

use std::net::SocketAddr;
use std::process::Output;
use std::time::Duration;

use serde_json::{Value, json};
use sluicegate_stack::folder::Folder;
use sluicegate_stack::http::client::{Request, ask};
use sluicegate_stack::kafka::{Kafka, Record, Write};
use sluicegate_stack::stack::Stack;
use sluicegate_stack::tools;
use sluicegate_stack::waiting::becomes;
use sluicegate_stack::way::Way;
use tokio::process::Command;
use tokio::time::timeout;

use crate::identity::ending::events;
use crate::identity::stacks::{
    ADMIN_TOKEN, ISSUER, answer, by_gateway, close, command, http, of_gateway, open, token,
};

async fn admin(stack: &Stack, token: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(tools::cli().unwrap());
    command.args(["admin", "--admin", &format!("http://{}", admin_of(stack))]).args(arguments);
    command.env("SLUICEGATE_ADMIN_TOKEN", token).env_remove("SLUICEGATE_CONFIG");
    timeout(Duration::from_secs(20), command.output()).await.unwrap().unwrap()
}

fn admin_of(stack: &Stack) -> SocketAddr {
    stack.bridges().next().unwrap().admin()
}

/// The sessions that match these arguments.
async fn listed(stack: &Stack, arguments: &[&str]) -> Vec<Value> {
    let output = admin(stack, ADMIN_TOKEN, &[&["sessions", "--json"], arguments].concat()).await;
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn operators_find_and_end_the_sessions_of_a_person() {
    let kafka = Kafka::shared().await.unwrap();
    let topic = &kafka.topic("open-watched", 2, &[]).await.unwrap();
    let stack = of_gateway(Way::Tunnel).await;
    // No other test ends their sessions.
    let [olga, otto] = ["olga", "otto"].map(|person| token(person, &json!({}), 600));
    let (mut hers, mut his) = (open(&stack, &olga).await, open(&stack, &otto).await);
    let denied = command(&mut hers, 1, "subscribe", json!({"topic": "other"})).await;
    assert_eq!(denied["error"]["reason"], "DENIED");
    command(&mut hers, 2, "subscribe", json!({"topic": topic})).await;
    kafka.produce(topic, 0, &[Record::of("a")], Write::default()).await.unwrap();
    answer(&mut hers, 2).await;
    let stream = events(&stack, topic, &olga).await;
    assert_eq!(stream.head.status, 200);

    let of_topic = async || listed(&stack, &["--topic", topic]).await.len();
    becomes("sessions and streams", 2, Duration::from_secs(5), of_topic).await;
    let found = listed(&stack, &["--issuer", ISSUER, "--subject", "olga", "--route", "/pubsub"]).await;
    let [session] = &found[..] else { panic!("{found:?}") };
    assert_eq!(
        [&session["kind"], &session["cluster"], &session["denied"]],
        [&json!("session"), &json!("default"), &json!(1)],
        "{session}"
    );
    let address = session["address"].as_str().unwrap();
    assert_eq!(listed(&stack, &["--address", address, "--topic", topic]).await.len(), 2);
    assert_eq!(listed(&stack, &["--address", "192.0.2.99"]).await.len(), 0);
    let mut subscription = session["subscriptions"][0].clone();
    assert!(subscription.as_object_mut().unwrap().remove("last_delivery_at").is_some(), "{session}");
    let counts = json!({"topic": topic, "partitions": 2, "lag": 0, "delivered": 1, "hidden": 0, "hidden_by_rows": 0, "filters": 0});
    assert_eq!(subscription, counts, "{session}");
    assert!(session["sent_bytes"].as_u64() > Some(100) && session["expires_in_ms"].as_u64() > Some(500_000));
    assert_eq!(session["commands"], 2, "{session}");
    let kinds: Vec<Value> =
        listed(&stack, &["--topic", topic]).await.iter().map(|session| session["kind"].clone()).collect();
    assert_eq!(kinds, ["session", "events"]);

    let (routes, claims) = (Folder::new("explain").unwrap(), json!({"iss": ISSUER, "sub": "olga"}));
    let route = json!({"path": "/pubsub", "identity": by_gateway(), "topics": [topic]});
    let [routes, claims] = [("routes", json!([route])), ("claims", claims)].map(|(name, text)| {
        routes.write(name, &text.to_string()).unwrap();
        routes.path().join(name).to_str().unwrap().to_owned()
    });
    for (right, code, decides) in
        [("read", 0, "yes, all records"), ("write", 1, "no, the route grants it to nobody: ")]
    {
        let arguments =
            ["explain", &routes, "/pubsub", "--claims", &claims, "--topic", topic, "--right", right];
        let explained = admin(&stack, ADMIN_TOKEN, &arguments).await;
        let text = String::from_utf8_lossy(&explained.stdout);
        assert!(explained.status.code() == Some(code) && text.contains("subject olga"), "{explained:?}");
        assert!(text.contains(&format!("{right} of {topic}: {decides}")), "{text}");
    }

    let strangers = admin(&stack, "another-token-of-nobody", &["sessions"]).await;
    assert_eq!(strangers.status.code(), Some(1), "{strangers:?}");
    for method in ["GET", "DELETE"] {
        let response = ask(admin_of(&stack), Request::new(method, "/sessions?subject=olga")).await;
        assert_eq!((response.status, response.header("www-authenticate")), (401, Some("Bearer")));
    }

    let ended = admin(&stack, ADMIN_TOKEN, &["sessions", "--subject", "olga", "--end"]).await;
    assert!(String::from_utf8_lossy(&ended.stdout).contains("2 sessions ended"), "{ended:?}");
    assert_eq!(close(&mut hers).await, (1008, "ended by an operator".to_owned()));
    command(&mut his, 1, "session", json!({})).await;
    becomes("sessions", 0, Duration::from_secs(5), of_topic).await;
    // The identity is still valid.
    let mut again = open(&stack, &olga).await;
    command(&mut again, 1, "session", json!({})).await;
    assert_eq!(http(&stack, Some(&olga), Request::get("/kafka/topics")).await.status, 200);
}
