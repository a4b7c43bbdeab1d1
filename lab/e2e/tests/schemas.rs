//! Values with schemas through each way in: a registry, a Kafka and the gateways are real. `serializers` judges the
//! formats, and the simulation what happens while a registry fails.

use serde_json::{Value, json};
use sluicegate_client::{At, Client, FetchOptions, Source, Subscribe, Update};
use sluicegate_stack::http::client::Request;
use sluicegate_stack::json_socket::JsonSocket;
use sluicegate_stack::kafka::{Kafka, Record, Write};
use sluicegate_stack::registry::Registry;
use sluicegate_stack::stack::Stack;
use sluicegate_stack::way::Way;

use crate::http::events::Events;
use crate::http::openapi::ask;
use crate::pool::{Config, REST};

const AVRO: &str = "application/vnd.kafka.avro.v2+json";

/// A registry that asks for a password, and a bridge that has it.
async fn stack() -> (&'static Kafka, Registry, Stack) {
    let registry = Registry::start_with(&[], "Basic YnJpZGdlOnBhc3N3b3Jk").await.unwrap();
    let schemas =
        format!("[schemas.main]\nurl = {:?}\nusername = \"bridge\"\npassword = \"password\"", registry.url());
    let config = Config::new(Way::Tunnel).await.settings(&schemas).properties("schemas = \"main\"");
    let config = config.writing(&["default"]).routes([
        json!({"path": REST, "type": "rest", "write": true, "tables": ["*"], "register_schemas": true}),
        json!({"path": "/encoded", "type": "rest", "write": true, "encode": true}),
    ]);
    (Kafka::shared().await.unwrap(), registry, config.own().await)
}

fn order(id: u64) -> Value {
    json!({"id": id, "status": if id.is_multiple_of(2) { "open" } else { "paid" }})
}

async fn post(stack: &Stack, path: &str, content_type: &str, body: Value) -> (u16, Value) {
    let post = Request::post(path, body.to_string()).with("content-type", content_type);
    let answer = ask(stack.gateway(), post.with("accept", "application/vnd.kafka.v2+json")).await;
    (answer.status, answer.json())
}

#[tokio::test]
async fn values_are_written_and_read_as_json_in_each_way() {
    let (kafka, registry, stack) = stack().await;
    let topic = &kafka.topic("schemas", 1, &[]).await.unwrap();
    let fields = json!([{"name": "id", "type": "long"}, {"name": "status", "type": "string"}]);
    let schema = json!({"type": "record", "name": "Order", "fields": fields}).to_string();

    // Four ways to name the schema, the first of which registers it.
    let path = &format!("{REST}/topics/{topic}");
    let one = |id| json!([{"value": order(id)}]);
    let (status, told) = post(&stack, path, AVRO, json!({"value_schema": schema, "records": one(0)})).await;
    assert_eq!((status, &told["offsets"][0]["offset"]), (200, &json!(0)), "{told}");
    let id = registry.register(&format!("{topic}-value"), &json!({"schema": schema})).await;
    assert_eq!(told["value_schema_id"], id, "{told}");
    let (status, told) = post(&stack, path, AVRO, json!({"value_schema_id": id, "records": one(1)})).await;
    assert_eq!((status, &told["offsets"][0]["offset"]), (200, &json!(1)), "{told}");
    let json = "application/vnd.kafka.json.v2+json";
    let encoded = &format!("/encoded/topics/{topic}");
    let (status, told) = post(&stack, encoded, json, json!({"records": one(2)})).await;
    assert_eq!((status, &told["offsets"][0]["offset"]), (200, &json!(2)), "{told}");
    let mut session = JsonSocket::open(&stack).await;
    let subject = format!("{topic}-value");
    let produce = json!({"topic": topic, "value": order(3), "value_schema": subject});
    session.send(json!({"id": 1, "produce": produce}).to_string()).await;
    let told = session.receive().await;
    assert!(told["error"].is_object(), "the route may not write: {told}");

    // A value that does not fit, a schema that is unknown, and none.
    let wrong = json!([{"value": {"id": "x", "status": "open"}}]);
    let cases = [
        (json!({"value_schema_id": id, "records": wrong}), 42203, "/id"),
        (json!({"value_schema_id": 9999, "records": one(9)}), 42205, "9999"),
        (json!({"records": one(9)}), 42202, "value_schema"),
    ];
    let json_schema = "application/vnd.kafka.jsonschema.v2+json";
    let of_other = (json!({"value_schema_id": id, "records": one(9)}), 42203, "is of type AVRO");
    let cases = cases.map(|case| (AVRO, case)).into_iter().chain([(json_schema, of_other)]);
    for (content_type, (body, code, want)) in cases {
        let (status, told) = post(&stack, path, content_type, body).await;
        assert_eq!((status, &told["error_code"]), (422, &json!(code)), "{told}");
        assert!(told["message"].as_str().unwrap().contains(want), "{told}");
    }

    // Each way in reads them as JSON, and bytes stay bytes.
    let stored = kafka.read(topic, 0);
    assert!(stored.iter().all(|record| record.value.as_ref().is_some_and(|value| value[0] == 0)));
    let want: Vec<Value> = (0..3).map(order).collect();
    let records = |kind: &str| Request::get(format!("{path}/partitions/0/records")).with("accept", kind);
    for kind in ["application/json", json, AVRO] {
        let read = ask(stack.gateway(), records(kind)).await.json();
        let values: Vec<Value> =
            read.as_array().unwrap().iter().map(|record| record["value"].clone()).collect();
        assert_eq!(values, want, "{kind}: {read}");
    }
    let filter = "filter=%7B%22value%22:%22/status%22,%22is%22:%22open%22%7D";
    let mut events = Events::open(&stack, &format!("{path}/events?from=earliest&{filter}")).await;
    events.collect(2).await;
    let open: Vec<_> = events.all().iter().map(|record| record["value"]["id"].clone()).collect();
    assert_eq!(open, [json!(0), json!(2)]);
    session.send(json!({"id": 2, "fetch": {"topic": topic, "partition": 0, "offset": 0}}).to_string()).await;
    let read = session.receive().await;
    let message = &read["messages"][0];
    assert_eq!(message["value"], order(0), "{read}");
    assert_eq!(message["value_schema"], json!({"id": id, "type": "AVRO"}), "{read}");
    let client = Client::connect(stack.url()).await.unwrap();
    let fetched = client.fetch_with(topic, 0, 0, FetchOptions::new().decode()).await.unwrap();
    let value = |at: usize| fetched.messages[at].value.clone().unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&value(1)).unwrap(), order(1));
    let plain = client.fetch(topic, 0, 0).await.unwrap();
    assert_eq!(plain.messages[1].value, stored[1].value);

    // An unknown schema is bytes with a reason, and hides no other.
    let unknown = Record::of(b"\0\0\0\x27\x0f?".to_vec());
    kafka.produce(topic, 0, &[unknown, Record::of("{}")], Write::default()).await.unwrap();
    let subscribe = Subscribe::new([Source::new(topic).at(At::Earliest)]).decode();
    let mut subscription = client.subscribe(subscribe);
    let mut got = Vec::new();
    while got.len() < 5 {
        if let Update::Delivery(delivery) = subscription.next().await.unwrap().unwrap() {
            got.extend(delivery.messages);
        }
    }
    assert_eq!(got[3].not_decoded, "schema 9999 is not in the registry");
    assert_eq!(
        (got[3].value.as_deref(), got[4].value.as_deref()),
        (Some(&b"\0\0\0\x27\x0f?"[..]), Some(&b"{}"[..]))
    );
    let asked = registry.requests().await;
    assert!(asked.as_object().unwrap().iter().all(|(_, count)| count.as_u64() <= Some(3)), "{asked}");
    let logged = std::fs::read_to_string(stack.bridge.process.log()).unwrap();
    assert!(!logged.contains("password"), "{logged}");
}
