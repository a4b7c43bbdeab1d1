//! Compares `docs/reference/asyncapi.yaml` with the messages of these tests.

use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::{Value, json};
use sluicegate_stack::json_socket::{JsonSocket, upgrade};
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::nats::Streams;
use sluicegate_stack::stack::Stack;
use sluicegate_stack::way::Way;

use crate::identity::stacks::{self, of_bridge, token};
use crate::pool::{NATS_SESSION, standard};
use crate::schema::{self, Document, members};

/// A session whose messages have to be documented.
pub(crate) struct DocumentedSocket(JsonSocket);

impl DocumentedSocket {
    pub(crate) async fn open(stack: &Stack) -> Self {
        Self(JsonSocket::open(stack).await)
    }

    /// Sends a command, and returns its answer.
    pub(crate) async fn ask(&mut self, command: Value) -> Value {
        self.say(&command).await;
        self.receive(&command).await
    }

    async fn say(&mut self, command: &Value) {
        API.see(&operation(command).command);
        self.0.send(command.to_string()).await;
    }

    /// The next message, which has to be an answer to this command.
    async fn receive(&mut self, command: &Value) -> Value {
        self.receive_any(&[command]).await
    }

    /// The next message, which has to be an answer to one of these commands.
    async fn receive_any(&mut self, commands: &[&Value]) -> Value {
        let answer = self.0.receive().await;
        let command = commands.iter().find(|command| command["id"] == answer["id"]).unwrap_or(&commands[0]);
        let operation = operation(command);
        let is_reply = |name: &&String| API.messages.parts[*name].is_valid(&answer);
        let replies: Vec<&String> = operation.replies.iter().filter(is_reply).collect();
        assert_eq!(replies.len(), 1, "{answer} is one of {:?} of {command}", operation.replies);
        API.see(replies[0]);
        answer
    }

    /// Begins a subscription, reads until each of `members` was part of an answer in this order, and ends it. Returns
    /// the first answer.
    async fn subscription(&mut self, id: i64, options: Value, members: &[&str]) -> Value {
        let command = json!({"id": id, "subscribe": options});
        let first = self.ask(command.clone()).await;
        for member in members {
            self.answer_with(member, &command).await;
        }
        if command["subscribe"].get("credit").is_some() {
            self.say(&json!({"id": id, "credit": {"subscription": id, "bytes": 1}})).await;
        }
        self.ask(json!({"id": id + 1, "unsubscribe": {"subscription": id}})).await;
        first
    }

    /// Reads until an answer has this member.
    async fn answer_with(&mut self, member: &str, command: &Value) {
        while self.receive(command).await.get(member).is_none() {}
    }

    /// Sends a text, and returns the next message, whatever they are.
    pub(crate) async fn tell(&mut self, text: impl Into<String>) -> Value {
        self.0.send(text).await;
        self.0.receive().await
    }
}

#[tokio::test]
async fn every_documented_message_is_seen() {
    let (kafka, stack) = standard(Way::Tunnel).await;
    of_kafka(kafka, &stack).await;
    of_nats(&stack).await;
    of_identities().await;
    // A table of a log that takes a second to read; the bridge's own tests see them.
    for (name, building) in [
        ("building", json!({"id": 1, "topic": "t", "building": {"partition": 0, "next": 3, "end": 5}})),
        ("natsBuilding", json!({"id": 1, "stream": "s", "building": {"next": 3, "end": 5}})),
    ] {
        assert!(API.messages.parts[name].is_valid(&building), "{building}");
        API.see(name);
    }
    API.messages.assert_all_seen(|_| false);
}

async fn of_kafka(kafka: &Kafka, stack: &Stack) {
    let topic = &kafka.topic("documented", 1, &[]).await.unwrap();
    let mut socket = DocumentedSocket::open(stack).await;
    let at = |topic: &str, name: &str, number: i64| {
        let mut place = json!({"topic": topic, "partition": 0});
        place[name] = number.into();
        place
    };
    let missing = "no-such-topic";
    let header = json!([{"key": "h", "value": "x"}, {"name": "h", "value": null}]);
    for command in [
        json!({"id": 1, "ping": {"state": "s"}}),
        json!({"id": 10, "session": {}}),
        json!({"id": 2, "produce": {"records": [
            {"topic": topic, "key": "k", "value": {"n": 1}, "headers": header, "partition": 0, "timestamp": 5},
            {"topic": missing, "value": null}]}}),
        json!({"id": 3, "fetch": at(topic, "offset", 0)}),
        json!({"id": 4, "fetch": at(topic, "offset", 99)}),
        json!({"id": 5, "fetch": at(missing, "offset", 0)}),
        json!({"id": 6, "multi_fetch": {"partitions": [at(topic, "offset", 0), at(missing, "offset", 0)],
            "filters": [{"value": "/x~1y", "exists": false}]}}),
        json!({"id": 7, "list_offset": at(topic, "timestamp", -1)}),
        json!({"id": 8, "list_offsets": {"offsets": [at(topic, "timestamp", -2), at(missing, "timestamp", 0)]}}),
        json!({"id": 9, "metadata": {"topics": [topic, missing]}}),
    ] {
        socket.ask(command).await;
    }

    let filters = json!([{"key": ["k", {"prefix": "x"}]}, {"header": "h", "value": {"base64": "eA=="}},
        {"value": "/n", "is": [1, null, {"prefix": "x"}], "above": 0, "below": 2, "exists": true}]);
    let options = json!({"topic": topic, "partitions": [0], "from": "earliest", "next": {"0": 0}, "format": "text",
        "filters": filters, "isolation": "read_committed", "max_batch_bytes": 1, "max_batch_records": 1,
        "linger_ms": 1, "credit": 1000, "on_lag": "wait"});
    let first = socket.subscription(20, options, &["messages", "caught_up"]).await;
    let topic_id = &first["subscribed"][0]["topic_id"];

    let more = json!({"records": vec![json!({"topic": topic, "partition": 0, "value": null}); 9]});
    socket.ask(json!({"id": 23, "produce": more})).await;
    let source = json!({"topic": topic, "topic_id": topic_id, "from": {"timestamp": "0"}});
    let options = json!({"sources": [source], "max_batch_records": 1, "on_lag": "skip"});
    socket.subscription(24, options, &["skipped", "caught_up"]).await;

    let mut members = [DocumentedSocket::open(stack).await, DocumentedSocket::open(stack).await];
    let member = json!({"topic": topic, "from": "earliest", "group": "documented", "credit": 1000});
    let joins = json!({"id": 1, "subscribe": member});
    for member in &mut members {
        member.ask(joins.clone()).await;
        member.answer_with("assigned", &joins).await;
    }
    // One of them has the only partition.
    let [first, _] = &mut members;
    first.answer_with("revoked", &joins).await;
    let commit = json!({"id": 2, "commit": {"subscription": 1, "offsets": [at(topic, "offset", 1)]}});
    first.say(&commit).await;
    while first.receive_any(&[&joins, &commit]).await["id"] != 2 {}
    drop(members);

    kafka.delete_records_before(topic, 0, 1).await.unwrap();
    let table = json!({"sources": [{"topic": topic}], "snapshot": "latest_per_key", "away_ms": 5});
    socket.subscription(27, table, &["snapshot_end", "log_start", "caught_up"]).await;

    let gone = &kafka.topic("documented-gone", 1, &[]).await.unwrap();
    let command = json!({"id": 29, "subscribe": {"topic": gone, "from": {"offset": 0}}});
    socket.ask(command.clone()).await;
    kafka.delete_topic(gone).await.unwrap();
    socket.answer_with("retrying", &command).await;
}

async fn of_nats(stack: &Stack) {
    let streams = Streams::shared().await.unwrap();
    for stream in ["asyncapi", "asyncapi-gone"] {
        streams.create(stream, json!({})).await.unwrap();
    }
    let request = upgrade(&format!("ws://{}{NATS_SESSION}", stack.gateway()));
    let mut socket = DocumentedSocket(JsonSocket::open_with(request).await);
    let message = json!({"stream": "asyncapi", "subject": "asyncapi.a", "data": null});
    let header = json!([{"key": "h", "value": "x"}]);
    let whole = json!({"stream": "asyncapi", "subject": "asyncapi.a", "data": {"n": 1}, "headers": header,
        "message_id": "1"});
    let invalid = json!({"stream": "asyncapi", "subject": "elsewhere", "data": null});
    for command in [
        json!({"id": 30, "publish": {"messages": [whole, message, invalid], "format": "json"}}),
        json!({"id": 31, "fetch": {"stream": "asyncapi", "sequence": 0, "max_messages": 1, "max_wait_ms": 0}}),
        json!({"id": 32, "fetch": {"stream": "asyncapi", "sequence": "99"}}),
        json!({"id": 33, "list_sequences": {"times": [{"stream": "asyncapi", "timestamp": -1},
            {"stream": "gone-before", "timestamp": 0}]}}),
    ] {
        socket.ask(command).await;
    }
    let filters = json!([{"subject": ["asyncapi.a", {"prefix": "x."}]}, {"header": "h", "value": "x"}]);
    let options = json!({"stream": "asyncapi", "from": {"sequence": 1}, "format": "text", "filters": filters,
        "max_batch_bytes": 1, "max_batch_messages": 1, "linger_ms": 1, "credit": 1000, "on_lag": "wait"});
    let first = socket.subscription(34, options, &["messages", "caught_up"]).await;
    let id = &first["subscribed"][0]["stream_id"];

    socket.ask(json!({"id": 36, "publish": {"messages": vec![message; 9]}})).await;
    let source = json!({"stream": "asyncapi", "stream_id": id, "from": "earliest"});
    let options = json!({"sources": [source], "max_batch_messages": 1, "on_lag": "skip"});
    socket.subscription(37, options, &["skipped", "caught_up"]).await;

    streams.call("STREAM.PURGE.asyncapi", &json!({"seq": 3})).await.unwrap();
    let table = json!({"stream": "asyncapi", "snapshot": "latest_per_key", "away_ms": 5});
    socket.subscription(50, table, &["snapshot_end", "first_sequence", "caught_up"]).await;

    let command = json!({"id": 39, "subscribe": {"stream": "asyncapi-gone", "from": {"timestamp": 0}}});
    socket.ask(command.clone()).await;
    streams.call("STREAM.DELETE.asyncapi-gone", &json!({})).await.unwrap();
    socket.answer_with("retrying", &command).await;
}

/// A session whose identity expires.
async fn of_identities() {
    let stack = of_bridge(Way::Tunnel).await;
    let token = || token("alice", &json!({"aud": "app"}), 6);
    let mut socket = DocumentedSocket(stacks::open(&stack, &token()).await);
    socket.ask(json!({"id": 40, "auth": {"token": token()}})).await;
    let command = json!({"id": 41, "session": {}});
    socket.ask(command.clone()).await;
    socket.answer_with("expiring", &command).await;
}

/// The schemas refuse what the bridge refuses.
#[tokio::test]
async fn undocumented_commands_are_refused() {
    let (_, stack) = standard(Way::Tunnel).await;
    let mut socket = DocumentedSocket::open(&stack).await;
    for command in [
        json!({"id": 1}),
        json!({"id": "1", "ping": {}}),
        json!({"id": 1, "pign": {}}),
        json!({"id": 1, "ping": {}, "metadata": {}}),
        json!({"id": 1, "ping": {"state": 1}}),
        json!({"id": 1, "ping": []}),
        json!({"id": 1, "fetch": {"topic": "t", "partition": 0}}),
        json!({"id": 1, "fetch": {"topic": "t", "partition": 0, "offset": 0, "formt": "text"}}),
        json!({"id": 1, "fetch": {"topic": "t", "partition": 0, "offset": 0, "format": "xml"}}),
        json!({"id": 1, "fetch": {"topic": "t", "partition": 0, "offset": "1.0"}}),
        json!({"id": 1, "multi_fetch": {"partitions": [["t", 0, 0]]}}),
        json!({"id": 1, "list_offsets": {"offsets": [], "isolation": "READ_COMMITTED"}}),
        json!({"id": 1, "metadata": {"topics": vec!["t"; 1001]}}),
        json!({"id": 1, "subscribe": {"from": "latest"}}),
        json!({"id": 1, "subscribe": {"topic": "t", "sources": [{"topic": "t"}]}}),
        json!({"id": 1, "subscribe": {"from": "latest", "sources": [{"topic": "t"}]}}),
        json!({"id": 1, "subscribe": {"sources": []}}),
        json!({"id": 1, "subscribe": {"topic": "t", "from": "start"}}),
        json!({"id": 1, "subscribe": {"topic": "t", "next": {"a": 1}}}),
        json!({"id": 1, "subscribe": {"topic": "t", "topic_id": "t"}}),
        json!({"id": 1, "subscribe": {"topic": "t", "filters": [{"key": []}]}}),
        json!({"id": 1, "subscribe": {"topic": "t", "filters": [{"value": "h"}]}}),
        json!({"id": 1, "subscribe": {"topic": "t", "linger_ms": 10_001}}),
        json!({"id": 1, "subscribe": {"topic": "t", "snapshot": "latest"}}),
        json!({"id": 1, "subscribe": {"topic": "t", "snapshot": "latest_per_key", "away_ms": -1}}),
        json!({"id": 1, "unsubscribe": {}}),
        json!({"id": 1, "credit": {"subscription": 1, "bytes": -1}}),
        json!({"id": 1, "produce": {"records": [{"topic": "t", "value": 1, "key": 5}]}}),
        json!({"id": 1, "produce": {"records": [{"topic": "t", "value": 1, "key": {"base64": "YQ==", "x": 1}}]}}),
        json!({"id": 1, "produce": {"records": [{"topic": "t", "value": 1, "headers": [{"value": "x"}]}]}}),
        json!({"id": 1, "produce": {"records": [{"topic": "t", "value": 1, "headers": [{"key": "h", "name": "h"}]}]}}),
        json!({"id": 1, "produce": {"records": [{"topic": "t"}]}}),
    ] {
        assert!(API.operation(&command).is_none(), "{command} is documented");
        let answer = socket.tell(command.to_string()).await;
        assert_eq!(answer["error"]["reason"], "INVALID_COMMAND", "{command}: {answer}");
    }
}

static API: LazyLock<Api> = LazyLock::new(Api::read);

struct Api {
    operations: Vec<Operation>,
    /// By name, and closed: members that are not documented are faults.
    messages: Document<Validator>,
}

struct Operation {
    command: String,
    replies: Vec<String>,
}

impl Api {
    fn read() -> Self {
        let mut document = schema::parse(include_str!("../../../../../docs/reference/asyncapi.yaml"));
        close(&mut document);
        let operation = |(_, operation): (&String, &Value)| Operation {
            command: names(&document, &operation["messages"]).remove(0),
            replies: names(&document, &operation["reply"]["messages"]),
        };
        let validator = |(name, message): (&String, &Value)| {
            (name.clone(), schema::validator(&document, &message["payload"]))
        };
        Self {
            operations: members(&document["operations"]).map(operation).collect(),
            messages: members(&document["components"]["messages"]).map(validator).collect(),
        }
    }

    /// The operation of a documented command.
    fn operation(&self, command: &Value) -> Option<&Operation> {
        self.operations.iter().find(|operation| self.messages.parts[&operation.command].is_valid(command))
    }

    fn see(&self, message: &str) {
        self.messages.see(message);
    }
}

#[track_caller]
fn operation(command: &Value) -> &'static Operation {
    API.operation(command).unwrap_or_else(|| panic!("{command} is not documented"))
}

/// The names of the messages that an operation refers to by way of its channel.
fn names(document: &Value, references: &Value) -> Vec<String> {
    let name = |reference: &Value| {
        let message = schema::resolve(document, reference)["$ref"].as_str().unwrap();
        message.strip_prefix("#/components/messages/").unwrap().to_owned()
    };
    references.as_array().unwrap().iter().map(name).collect()
}

/// Forbids all members that are not documented, which later versions can have.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            if members.contains_key("properties") && members.get("type") == Some(&json!("object")) {
                members.entry("additionalProperties").or_insert(false.into());
            }
            members.values_mut().for_each(close);
        }
        Value::Array(elements) => elements.iter_mut().for_each(close),
        _ => {}
    }
}
