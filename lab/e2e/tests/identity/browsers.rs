//! Users who log in at an OpenID provider in a browser, and come back to a page: real Chromium, and the demo's provider.

use std::fs::File;
use std::io::Write as _;
use std::time::Duration;

use serde_json::json;
use sluicegate_stack::browser;
use sluicegate_stack::folder::Folder;
use sluicegate_stack::kafka::{Kafka, Record, Write};
use sluicegate_stack::login::{Provider, USERS};
use sluicegate_stack::port::Port;
use sluicegate_stack::way::Way;

use crate::identity::stacks::{config, now};

/// The lifetime of tokens.
const LIFETIME: Duration = Duration::from_secs(6);

/// Runs a script with two users, a topic of each of them, and one that both can read.
async fn run(way: Way, script: &str) {
    let kafka = Kafka::shared().await.unwrap();
    let shared = kafka.topic("logins", 1, &[]).await.unwrap();
    for user in USERS {
        kafka.make_topic(&format!("{shared}.{user}"), 1, &[]).await.unwrap();
    }
    let page = Port::pick().unwrap();
    let origin = format!("http://{}", page.address());
    let provider =
        Provider::start(Port::pick().unwrap(), std::slice::from_ref(&origin), LIFETIME).await.unwrap();
    let folder = Folder::new("logins").unwrap();
    let list = folder.write("revoked.jsonl", "").unwrap();
    let identity = json!({"from": "token", "name": "demo", "query": "access_token"});
    let own = format!("{shared}.${{sub}}");
    let keys = json!({"identity": identity, "origins": [origin], "read": [shared, own], "write": [own]});
    let tables =
        format!("[identity]\nleeway_ms = 0\n{}[revocation]\nlist_file = {list:?}", provider.table("demo"));
    let stack = config(way, &keys, &tables).await.own().await;
    let issuer = provider.issuer();
    let args = [&stack.gateway().to_string(), &issuer, &page.number().to_string(), &shared];
    browser::run(script, &args.map(String::as_str), Duration::from_secs(180), async |request| {
        match request.split_once(' ') {
            Some(("write", topic)) => {
                let records = [Record::of(r#"{"number": -1}"#)];
                kafka.produce(topic, 0, &records, Write::default()).await.unwrap();
            }
            Some(("revoke", user)) => {
                let later = now() + 3600;
                let entry = json!({"iss": issuer, "sub": user, "issued_until": later, "until": later});
                let mut list = File::options().append(true).open(&list).unwrap();
                list.write_all(format!("{entry}\n").as_bytes()).unwrap();
            }
            _ => panic!("unknown request {request:?}"),
        }
        "done".to_owned()
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn users_log_in_and_keep_their_session() {
    run(Way::Tunnel, "login.ts").await;
}

#[tokio::test]
async fn users_log_in_and_read_by_plain_http() {
    run(Way::Apisix, "login-http.ts").await;
}
