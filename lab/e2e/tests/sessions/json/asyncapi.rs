//! Compares `docs/reference/asyncapi.yaml` with the messages of these tests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{LazyLock, Mutex};
use std::time::SystemTime;

use jsonschema::Validator;
use serde_json::{Value, json};
use sluicegate_stack::envoy::writing;
use sluicegate_stack::folder::Folder;
use sluicegate_stack::json_socket::upgrade;
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::nats::{Nats, Streams};
use sluicegate_stack::stack::{BridgeConfig, Setup, Stack};
use sluicegate_stack::tokens::Signer;
use sluicegate_stack::way::Way;

use super::peer::JsonPeer;
use crate::schema;
use crate::sessions::stacks::writable;

/// Expects a command and its answer to be documented.
#[track_caller]
pub(crate) fn check(command: &Value, answer: &Value) {
    let operation = check_command(command);
    let is_reply = |name: &&String| API.messages[*name].is_valid(answer);
    let replies: Vec<&String> = operation.replies.iter().filter(is_reply).collect();
    assert_eq!(replies.len(), 1, "{answer} is one of {:?} of {command}", operation.replies);
    API.seen.lock().unwrap().insert(replies[0].clone());
}

/// Expects a command to be documented.
#[track_caller]
pub(crate) fn check_command(command: &Value) -> &'static Operation {
    let operation = API.operation(command).unwrap_or_else(|| panic!("{command} is not documented"));
    API.seen.lock().unwrap().insert(operation.command.clone());
    operation
}

#[tokio::test]
async fn every_documented_message_is_seen() {
    let stack = writable(Way::Tunnel).await;
    let topic = &Kafka::shared().await.unwrap().topic("documented", 1, &[]).await.unwrap();
    let mut peer = JsonPeer::open(&stack).await;
    let (place, missing) =
        (json!({"topic": topic, "partition": 0}), json!({"topic": "no-such-topic", "partition": 0}));
    let at = |place: &Value, name: &str, number: i64| {
        let mut place = place.clone();
        place[name] = number.into();
        place
    };
    let header = json!([{"key": "h", "value": "x"}, {"key": "h", "value": null}]);
    for command in [
        json!({"id": 1, "ping": {"state": "s"}}),
        json!({"id": 10, "session": {}}),
        json!({"id": 2, "produce": {"records": [
            {"topic": topic, "key": "k", "value": {"n": 1}, "headers": header, "partition": 0, "timestamp": 5},
            {"topic": "no-such-topic", "value": null}]}}),
        json!({"id": 3, "fetch": at(&place, "offset", 0)}),
        json!({"id": 4, "fetch": at(&place, "offset", 99)}),
        json!({"id": 5, "fetch": at(&missing, "offset", 0)}),
        json!({"id": 6, "multi_fetch": {"partitions": [at(&place, "offset", 0), at(&missing, "offset", 0)]}}),
        json!({"id": 7, "list_offset": at(&place, "timestamp", -1)}),
        json!({"id": 8, "list_offsets": {"offsets": [at(&place, "timestamp", -2), at(&missing, "timestamp", 0)]}}),
        json!({"id": 9, "metadata": {"topics": [topic, "no-such-topic"]}}),
    ] {
        let answer = peer.ask(command.clone()).await;
        assert_eq!(answer["id"], command["id"]);
    }
    subscribe(&mut peer, topic).await;
    identity().await;
    nats().await;
    // A table of a log that takes a second to read; the bridge's own tests see them.
    for (name, building) in [
        ("building", json!({"id": 1, "topic": "t", "building": {"partition": 0, "next": 3, "end": 5}})),
        ("natsBuilding", json!({"id": 1, "stream": "s", "building": {"next": 3, "end": 5}})),
    ] {
        assert!(API.messages[name].is_valid(&building), "{building}");
        API.seen.lock().unwrap().insert(name.to_owned());
    }
    let seen = API.seen.lock().unwrap();
    let missing: Vec<_> = API.messages.keys().filter(|name| !seen.contains(*name)).collect();
    assert!(missing.is_empty(), "documented, and never seen: {missing:?}");
}

/// All answers of subscriptions. The topic has one record.
async fn subscribe(peer: &mut JsonPeer, topic: &str) {
    let kafka = Kafka::shared().await.unwrap();
    let filters = json!([{"key": ["k", {"prefix": "x"}]}, {"header": "h", "value": {"base64": "eA=="}}]);
    let options = json!({"topic": topic, "partitions": [0], "from": "earliest", "next": {"0": 0}, "format": "text",
        "filters": filters, "isolation": "read_committed", "max_batch_bytes": 1, "max_batch_records": 1,
        "linger_ms": 1, "credit": 1, "on_lag": "wait"});
    let command = json!({"id": 20, "subscribe": options});
    let subscribed = peer.ask(command.clone()).await;
    let topic_id = &subscribed["subscribed"][0]["topic_id"];
    let delivered = peer.answer_with("messages", &command).await;
    peer.say(json!({"id": 21, "credit": {"subscription": 20, "bytes": delivered["bytes"]}})).await;
    peer.answer_with("caught_up", &command).await;
    peer.ask(json!({"id": 22, "unsubscribe": {"subscription": 20}})).await;

    let more = json!({"records": vec![json!({"topic": topic, "partition": 0, "value": null}); 9]});
    peer.ask(json!({"id": 23, "produce": more})).await;
    let source = json!({"topic": topic, "topic_id": topic_id, "from": {"timestamp": "0"}});
    let command =
        json!({"id": 24, "subscribe": {"sources": [source], "max_batch_records": 1, "on_lag": "skip"}});
    peer.ask(command.clone()).await;
    peer.answer_with("skipped", &command).await;
    peer.answer_with("caught_up", &command).await;
    peer.ask(json!({"id": 25, "unsubscribe": {"subscription": 24}})).await;

    kafka.delete_records_before(topic, 0, 1).await.unwrap();
    let source = json!({"topic": topic});
    let command =
        json!({"id": 27, "subscribe": {"sources": [source], "snapshot": "latest_per_key", "away_ms": 5}});
    peer.ask(command.clone()).await;
    peer.answer_with("snapshot_end", &command).await;
    peer.answer_with("log_start", &command).await;
    peer.answer_with("caught_up", &command).await;
    peer.ask(json!({"id": 28, "unsubscribe": {"subscription": 27}})).await;

    let gone = &kafka.topic("documented-gone", 1, &[]).await.unwrap();
    let command = json!({"id": 26, "subscribe": {"topic": gone, "from": {"offset": 0}}});
    peer.ask(command.clone()).await;
    kafka.delete_topic(gone).await.unwrap();
    peer.answer_with("retrying", &command).await;
}

/// All messages of a route to NATS.
/// All answers about a client's identity.
async fn identity() {
    let signer = Signer::new().unwrap();
    let folder = Folder::new("documented-identity").unwrap();
    let keys = folder.write("keys.json", &signer.key_set()).unwrap();
    let cluster =
        format!("[clusters.default]\nbootstrap.servers = {:?}\n", Kafka::shared().await.unwrap().bootstrap());
    let issuer = format!("[identity.main]\nissuer = \"i\"\naudience = [\"a\"]\njwks_file = {keys:?}\n");
    let bridge = BridgeConfig::Text(format!("[identity]\nleeway_ms = 0\n{issuer}{cluster}"));
    let stack = Stack::start(Setup { bridge, ..Setup::new(Way::Direct, "") }).await.unwrap();
    let token = || {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        signer.sign_json(&json!({"iss": "i", "aud": "a", "sub": "s", "exp": now + 6})).unwrap()
    };
    let mut request = upgrade(&stack.url());
    let policy = r#"{"identity":{"token":"main"},"read":[]}"#;
    for (name, value) in [("sluicegate-access", policy), ("sluicegate-token", &token())] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let mut peer = JsonPeer::open_with(request).await;
    peer.ask(json!({"id": 40, "auth": {"token": token()}})).await;
    let command = json!({"id": 41, "session": {}});
    peer.ask(command.clone()).await;
    peer.answer_with("expiring", &command).await;
}

async fn nats() {
    let server = Nats::jetstream("").await.unwrap();
    let streams = Streams::connect(server.client()).await.unwrap();
    for stream in ["documented", "gone"] {
        streams.create(stream, json!({})).await.unwrap();
    }
    let cluster = format!("[clusters.default]\nkind = \"nats\"\nservers = \"nats://{}\"\n", server.client());
    let bridge = BridgeConfig::Text(format!("[write]\nclusters = [\"default\"]\n\n{cluster}"));
    let setup = Setup { bridge, envoy_edits: vec![writing()], ..Setup::new(Way::Tunnel, "") };
    let stack = Stack::start(setup).await.unwrap();
    let mut peer = JsonPeer::open(&stack).await;
    let message = json!({"stream": "documented", "subject": "documented.a", "data": null});
    let header = json!([{"key": "h", "value": "x"}]);
    let whole = json!({"stream": "documented", "subject": "documented.a", "data": {"n": 1}, "headers": header,
        "message_id": "1"});
    let invalid = json!({"stream": "documented", "subject": "elsewhere", "data": null});
    for command in [
        json!({"id": 30, "publish": {"messages": [whole, message, invalid], "format": "json"}}),
        json!({"id": 31, "fetch": {"stream": "documented", "sequence": 0, "max_messages": 1, "max_wait_ms": 0}}),
        json!({"id": 32, "fetch": {"stream": "documented", "sequence": "99"}}),
        json!({"id": 33, "list_sequences": {"times": [{"stream": "documented", "timestamp": -1},
            {"stream": "gone-before", "timestamp": 0}]}}),
    ] {
        let answer = peer.ask(command.clone()).await;
        assert_eq!(answer["id"], command["id"]);
    }
    let filters = json!([{"subject": ["documented.a", {"prefix": "x."}]}, {"header": "h", "value": "x"}]);
    let options = json!({"stream": "documented", "from": {"sequence": 1}, "format": "text", "filters": filters,
        "max_batch_bytes": 1,
        "max_batch_messages": 1, "linger_ms": 1, "credit": 1000, "on_lag": "wait"});
    let command = json!({"id": 34, "subscribe": options});
    let subscribed = peer.ask(command.clone()).await;
    let id = &subscribed["subscribed"][0]["stream_id"];
    peer.answer_with("messages", &command).await;
    peer.answer_with("caught_up", &command).await;
    peer.ask(json!({"id": 35, "unsubscribe": {"subscription": 34}})).await;

    peer.ask(json!({"id": 36, "publish": {"messages": vec![message; 9]}})).await;
    let source = json!({"stream": "documented", "stream_id": id, "from": "earliest"});
    let command =
        json!({"id": 37, "subscribe": {"sources": [source], "max_batch_messages": 1, "on_lag": "skip"}});
    peer.ask(command.clone()).await;
    peer.answer_with("skipped", &command).await;
    peer.answer_with("caught_up", &command).await;
    peer.ask(json!({"id": 38, "unsubscribe": {"subscription": 37}})).await;

    streams.call("STREAM.PURGE.documented", &json!({"seq": 3})).await.unwrap();
    let table = json!({"stream": "documented", "snapshot": "latest_per_key", "away_ms": 5});
    let command = json!({"id": 50, "subscribe": table});
    peer.ask(command.clone()).await;
    peer.answer_with("snapshot_end", &command).await;
    peer.answer_with("first_sequence", &command).await;
    peer.answer_with("caught_up", &command).await;
    peer.ask(json!({"id": 51, "unsubscribe": {"subscription": 50}})).await;

    let command = json!({"id": 39, "subscribe": {"stream": "gone", "from": {"timestamp": 0}}});
    peer.ask(command.clone()).await;
    streams.call("STREAM.DELETE.gone", &json!({})).await.unwrap();
    peer.answer_with("retrying", &command).await;
}

/// The schemas refuse what the bridge refuses.
#[tokio::test]
async fn undocumented_commands_are_refused() {
    let stack = writable(Way::Tunnel).await;
    let mut peer = JsonPeer::open(&stack).await;
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
        json!({"id": 1, "produce": {"records": [{"topic": "t"}]}}),
    ] {
        let is_valid = API
            .operation(&command)
            .is_some_and(|operation| API.messages[&operation.command].is_valid(&command));
        assert!(!is_valid, "{command} is documented");
        let answer = peer.tell(command.to_string()).await;
        assert_eq!(answer["error"]["reason"], "INVALID_COMMAND", "{command}: {answer}");
    }
}

static API: LazyLock<Api> = LazyLock::new(Api::read);

struct Api {
    operations: Vec<Operation>,
    /// By name, and closed: members that are not documented are faults.
    messages: BTreeMap<String, Validator>,
    seen: Mutex<BTreeSet<String>>,
}

pub(crate) struct Operation {
    command: String,
    replies: Vec<String>,
}

impl Api {
    fn read() -> Self {
        let mut document = schema::document(include_str!("../../../../../docs/reference/asyncapi.yaml"));
        close(&mut document);
        let operation = |operation: &Value| Operation {
            command: names(&document, &operation["messages"]).remove(0),
            replies: names(&document, &operation["reply"]["messages"]),
        };
        let validator = |(name, message): (&String, &Value)| {
            (name.clone(), schema::validator(&document, &message["payload"]))
        };
        let messages = &document["components"]["messages"];
        Self {
            operations: document["operations"].as_object().unwrap().values().map(operation).collect(),
            messages: messages.as_object().unwrap().iter().map(validator).collect(),
            seen: Mutex::default(),
        }
    }

    /// The operation of a documented command.
    fn operation(&self, command: &Value) -> Option<&Operation> {
        self.operations.iter().find(|operation| self.messages[&operation.command].is_valid(command))
    }
}

/// The names of the messages that an operation refers to by way of its channel.
fn names(document: &Value, references: &Value) -> Vec<String> {
    let name = |reference: &Value| {
        let in_channel =
            document.pointer(reference["$ref"].as_str().unwrap().trim_start_matches('#')).unwrap();
        let message = in_channel["$ref"].as_str().unwrap();
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
