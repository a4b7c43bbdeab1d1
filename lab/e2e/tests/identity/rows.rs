//! Tenants who share a stream: each reads and writes their own messages. The bridge's `entries` tests rows in every way in.

use serde_json::json;
use sluicegate_protocol::PublishMessage;
use sluicegate_stack::nats::{Nats, Streams};
use sluicegate_stack::way::Way;

use crate::identity::stacks::{BELIEVED, by_gateway, session, token, with_routes};
use crate::pool::Config;

#[tokio::test]
async fn each_tenant_has_the_subjects_of_a_stream() {
    let server = Nats::shared().await.unwrap();
    let streams = Streams::shared().await.unwrap();
    streams.create("tenants", json!({})).await.unwrap();
    let entries = json!([{"topic": "tenants", "only": {"subjects": ["tenants.${tenant}.>"]}}]);
    let keys = json!({"identity": by_gateway(), "claims": {"tenant": ["tenant"]}, "read": entries, "write": entries});
    let stack = with_routes(Config::on_nats(Way::Tunnel, server), Way::Tunnel, &keys, BELIEVED).own().await;
    let token = |tenant: &str| token("somebody", &json!({"tenant": tenant}), 600);
    for subject in ["tenants.globex.new", "tenants.acme.new", "tenants.acme", "tenants.acme.x.y"] {
        streams.write(subject, ["m".into()]).await.unwrap();
    }
    let client = session(&stack, Some(&token("acme"))).await.unwrap();
    let subjects = async |sequence| {
        let fetched = client.nats().fetch("tenants", sequence).await.unwrap();
        fetched.messages.into_iter().map(|message| message.subject).collect::<Vec<_>>()
    };
    assert_eq!(subjects(1).await, ["tenants.acme.new", "tenants.acme.x.y"]);
    let publish = async |subject: &str| {
        let message =
            PublishMessage { stream: "tenants".into(), subject: subject.into(), ..Default::default() };
        let published = client.nats().publish(vec![message]).await.unwrap().remove(0);
        published.map(drop).map_err(|error| error.message)
    };
    assert_eq!(publish("tenants.globex.new").await, Err("subject: expected tenants.acme.>".to_owned()));
    assert_eq!(publish("tenants.acme.2").await, Ok(()));
    assert_eq!(subjects(5).await, ["tenants.acme.2"]);
}
