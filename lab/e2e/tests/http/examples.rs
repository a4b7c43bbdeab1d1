//! The REST proxies' documented requests, and their answers here: `examples.txt`.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use sluicegate_stack::http::client::{Request, Response};
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::registry::Registry;
use sluicegate_stack::way::Way;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::openapi::ask;
use crate::pool::{Config, REST};

const TABLE: &str = include_str!("examples.txt");
const PAGE: &str = include_str!("../../../../docs/how-to/move-from-rest-proxy.md");

const TOPICS: [(&str, i32); 16] = [
    ("jsontest", 1),
    ("binarytest", 1),
    ("avrotest", 1),
    ("protobuftest", 1),
    ("jsonschematest", 1),
    ("quickjson", 1),
    ("v3test", 2),
    ("test", 3),
    ("test1", 1),
    ("test2", 1),
    ("bridge-quickstart-topic", 3),
    ("topic", 2),
    ("topic1", 2),
    ("topic2", 1),
    ("test_topic", 3),
    ("my_topic", 1),
];

/// A group without members waits 3 s for more of them.
const WITHIN: Duration = Duration::from_secs(30);

#[tokio::test]
async fn documented_requests_of_the_rest_proxies_are_answered() {
    let (kafka, registry) = (Kafka::shared().await.unwrap(), Registry::start().await.unwrap());
    for (topic, partitions) in TOPICS {
        kafka.make_topic(topic, partitions, &[]).await.unwrap();
    }
    let schemas = format!("[schemas.main]\nurl = {:?}", registry.url());
    let config = Config::new(Way::Tunnel).await.settings(&schemas).properties("schemas = \"main\"");
    let route = json!({"path": REST, "type": "rest", "write": true, "consume": ["*"], "describe": true,
                       "register_schemas": true, "origins": ["https://strimzi.io"]});
    let stack = config.writing(&["default"]).routes([route]).own().await;
    let gateway = stack.gateway();
    JoinSet::from_iter(clients().into_iter().map(|rows| run(rows, gateway))).join_all().await;
}

#[test]
fn page_has_the_differences() {
    let first_cell = |line: &'static str| line.strip_prefix("| ")?.split(" | ").next();
    let (_, consumers) = PAGE.split_once("## Consumers\n").unwrap();
    let (consumers, _) = consumers.split_once("\n\n**").unwrap();
    let known: BTreeSet<&str> = PAGE.lines().filter_map(first_cell).collect();
    let listed: BTreeSet<&str> =
        consumers.lines().filter_map(first_cell).filter(|cell| *cell != "request").collect();
    let found: Vec<&str> = clients().iter().flatten().filter_map(|row| row.differs).collect();
    assert!(found.iter().all(|row| known.contains(row)), "{found:?}");
    let unseen: Vec<_> = listed.into_iter().filter(|row| !found.contains(row)).collect();
    assert!(unseen.is_empty(), "no request shows {unseen:?}");
}

/// A request, and the answer to it.
#[derive(Default)]
struct Row {
    request: &'static str,
    headers: Vec<(&'static str, &'static str)>,
    body: &'static str,
    /// Whether it is repeated until the answer is complete.
    repeats: bool,
    status: u16,
    content_type: Option<&'static str>,
    answer_headers: Vec<(&'static str, &'static str)>,
    documents: Vec<&'static str>,
    /// The row of the page that says why a proxy answers otherwise.
    differs: Option<&'static str>,
}

/// The requests of each client.
fn clients() -> Vec<Vec<Row>> {
    let rows = |part: &'static str| {
        let (_, rows) = part.split_once('\n').unwrap();
        rows.split("\n\n").filter(|row| !row.trim().is_empty()).map(Row::parse).collect()
    };
    TABLE.split("\n== ").skip(1).map(rows).collect()
}

impl Row {
    fn parse(text: &'static str) -> Self {
        let (question, answer) = text.trim().split_once("\n=>").unwrap_or_else(|| panic!("{text}"));
        let (head, body) = question.split_once('\n').unwrap_or((question, ""));
        let mut headers = head.split(" | ");
        let request = headers.next().unwrap();
        let header = |line: &'static str| line.split_once(": ").unwrap_or_else(|| panic!("{line}"));
        let headers = headers.map(header).collect();
        let (repeats, answer) = answer.strip_prefix('+').map_or((false, answer), |answer| (true, answer));
        let mut lines = answer.trim_start().lines();
        let mut first = lines.next().unwrap().splitn(3, ' ');
        let status = first.next().unwrap().parse().unwrap();
        let (content_type, document) = (first.next(), first.next());
        let mut row = Self { request, headers, body, repeats, status, content_type, ..Self::default() };
        row.documents.extend(document);
        for line in lines {
            match line.as_bytes() {
                [b'{' | b'[', ..] => row.documents.push(line),
                [b'!', ..] => row.differs = Some(header(line).1),
                _ => row.answer_headers.push(header(line)),
            }
        }
        row
    }

    async fn ask(&self, gateway: SocketAddr, names: &Names) -> Response {
        let (method, path) = self.request.split_once(' ').unwrap();
        let mut request = Request::new(method, format!("{REST}{}", names.expand(path))).body(self.body);
        for (name, value) in &self.headers {
            request = request.with(&name.to_ascii_lowercase(), names.expand(value));
        }
        ask(gateway, request).await
    }

    #[track_caller]
    fn check(&self, response: &Response, names: &Names) {
        let what = format!("{} {}", self.request, self.body);
        assert_eq!(response.status, self.status, "{what}: {response:?}");
        let content_type = self.content_type.map(|name| names.expand(name));
        assert_eq!(response.header("content-type"), content_type.as_deref(), "{what}");
        for (name, value) in &self.answer_headers {
            assert_eq!(response.header(&name.to_ascii_lowercase()), Some(*value), "{what}: {response:?}");
        }
    }
}

/// What stands for the names that the table abbreviates.
struct Names {
    base: String,
    cluster: String,
}

impl Names {
    fn expand(&self, text: &str) -> String {
        let kinds = ["json", "binary", "text", "avro", "protobuf", "jsonschema"];
        let named = kinds.iter().fold(text.replace("$BASE", &self.base), |text, kind| {
            text.replace(&format!("@{kind}.v2"), &format!("application/vnd.kafka.{kind}.v2+json"))
        });
        named.replace("@v2", "application/vnd.kafka.v2+json").replace("$CLUSTER", &self.cluster)
    }
}

async fn run(rows: Vec<Row>, gateway: SocketAddr) {
    let mut names = Names { base: format!("http://{gateway}{REST}"), cluster: String::new() };
    for row in rows {
        let (mut all, began) = (Vec::new(), Instant::now());
        loop {
            let response = row.ask(gateway, &names).await;
            let mut found = documents(&response);
            if let Some(id) = found.first().and_then(|found| found["data"][0]["cluster_id"].as_str()) {
                names.cluster = id.to_owned();
            }
            row.check(&response, &names);
            if let (true, Some(Value::Array(records))) = (row.repeats, found.first_mut()) {
                all.append(records);
                records.clone_from(&all);
            }
            let wants = row.documents.iter().map(|want| serde_json::from_str(&names.expand(want)).unwrap());
            let wants: Vec<Value> = wants.collect();
            if found.len() == wants.len() && found.iter().zip(&wants).all(|(found, want)| is(found, want)) {
                break;
            }
            assert!(row.repeats && began.elapsed() < WITHIN, "{} {}: {found:?}", row.request, row.body);
            sleep(Duration::from_millis(50)).await;
        }
    }
}

/// The documents of an answer, which has several for a stream of records.
fn documents(response: &Response) -> Vec<Value> {
    let documents = serde_json::Deserializer::from_slice(&response.body).into_iter();
    documents.collect::<Result<_, _>>().unwrap_or_else(|error| panic!("{error}: {response:?}"))
}

/// Whether a value is the wanted one, in which "*" is any value and "…" allows others.
fn is(found: &Value, want: &Value) -> bool {
    match (found, want) {
        (_, Value::String(any)) if any == "*" => true,
        (Value::Object(found), Value::Object(want)) => {
            let has = |(name, want): (&String, &Value)| found.get(name).is_some_and(|found| is(found, want));
            let named = want.iter().filter(|(name, _)| *name != "…");
            named.clone().all(has) && (want.contains_key("…") || named.count() == found.len())
        }
        (Value::Array(found), Value::Array(want)) => match want.split_last() {
            Some((Value::String(others), want)) if others == "…" => {
                want.iter().all(|want| found.iter().any(|found| is(found, want)))
            }
            _ => found.len() == want.len() && found.iter().zip(want).all(|(found, want)| is(found, want)),
        },
        _ => found == want,
    }
}
