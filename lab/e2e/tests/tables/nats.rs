//! Tables of streams: a subject is the key.

use std::collections::BTreeMap;

use serde_json::json;
use sluicegate_client::{Client, Table, nats};
use sluicegate_stack::http::client::{Request, ask};
use sluicegate_stack::nats::Streams;
use sluicegate_stack::way::Way;

use crate::pool::{NATS_REST, NATS_SESSION, standard};

/// Waits until the table has these messages.
async fn becomes(table: &mut Table<nats::Update>, want: &[(&str, &str)]) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let want: BTreeMap<_, _> =
        want.iter().map(|(key, data)| (text(key.as_bytes()), text(data.as_bytes()))).collect();
    let has = |table: &Table<nats::Update>| {
        let rows = table.iter().map(|(key, message)| (text(key), text(&message.data)));
        table.is_complete() && rows.collect::<BTreeMap<_, _>>() == want
    };
    while !has(table) {
        table.next().await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn subjects_have_their_last_message_until_it_is_deleted() {
    let (_, stack) = standard(Way::Tunnel).await;
    let server = Streams::shared().await.unwrap();
    server.create("prices", json!({})).await.unwrap();
    let write = async |subject: &str, data: &'static str| {
        server.write(subject, [data.into()]).await.unwrap();
    };
    let remove = |subject: &str| {
        server.write_raw(subject.as_bytes(), b"NATS/1.0\r\nKV-Operation: DEL\r\n\r\n", b"").unwrap();
    };
    for (subject, data) in [("prices.a", "1"), ("prices.b", "1"), ("prices.a", "2"), ("prices.c", "1")] {
        write(subject, data).await;
    }
    remove("prices.c");
    write("prices.d", "1").await;
    let client = Client::connect(format!("ws://{}{NATS_SESSION}", stack.gateway())).await.unwrap();
    let mut table = client.nats().table("prices");
    becomes(&mut table, &[("prices.a", "2"), ("prices.b", "1"), ("prices.d", "1")]).await;
    remove("prices.a");
    write("prices.b", "2").await;
    becomes(&mut table, &[("prices.b", "2"), ("prices.d", "1")]).await;
    let get = async |subject: &str| {
        let path = format!("{NATS_REST}/streams/prices/table/{subject}");
        ask(stack.gateway(), Request::get(path).with("accept", "application/json")).await
    };
    assert_eq!(get("prices.b").await.json()["data"], 2);
    assert_eq!(get("prices.a").await.status, 404);
}
