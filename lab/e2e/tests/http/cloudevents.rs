//! CloudEvents, judged by their own SDKs: messages of an SDK's binding to HTTP are written through the gateway and read by its
//! binding to Kafka, and the other way round. The bridge's `http::cloudevents` tests the mapping in detail.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use sluicegate_protocol::KafkaMessage;
use sluicegate_stack::http::client::{Client, Request};
use sluicegate_stack::kafka::{Record, Write};
use sluicegate_stack::nats::Streams;
use sluicegate_stack::tools;
use sluicegate_stack::way::Way;

use crate::pool::{EVENTS, NATS_EVENTS, REST_EVENTS, standard};
use crate::serializers::output;

/// CloudEvents' SDKs.
#[derive(Clone, Copy, Debug)]
enum Sdk {
    JavaScript,
    Python,
}

#[tokio::test]
async fn javascript_sdk_agrees_with_kafka() {
    agrees_with_kafka(Sdk::JavaScript).await;
}

#[tokio::test]
async fn python_sdk_agrees_with_kafka() {
    agrees_with_kafka(Sdk::Python).await;
}

#[tokio::test]
async fn sdks_agree_with_nats() {
    for sdk in [Sdk::JavaScript, Sdk::Python] {
        agrees_with_nats(sdk).await;
    }
}

async fn agrees_with_kafka(sdk: Sdk) {
    let (kafka, stack) = standard(Way::Tunnel).await;
    let topic = &kafka.topic("cloudevents", 1, &[]).await.unwrap();
    let rest = format!("{REST_EVENTS}/topics/{topic}");
    let mut client = Client::connect(stack.gateway()).await.unwrap();
    let (mut written, mut over_http) = (Vec::new(), Vec::new());
    for message in sdk.run(&["write", "a key"], "").await {
        let (headers, body) = (message["headers"].as_object().unwrap(), bytes(&message["body"]));
        let events = message["events"].as_array().unwrap();
        if message["binding"] == "kafka" {
            let header = |(name, value): (&String, &Value)| {
                (name.clone(), value.as_str().map(|value| value.as_bytes().to_vec()))
            };
            let key = message["key"].as_str().map(|key| key.as_bytes().to_vec());
            let headers = headers.iter().map(header).collect();
            let record = Record { key, value: Some(body), headers, timestamp: None };
            kafka.produce(topic, 0, &[record, Record::of("no event")], Write::default()).await.unwrap();
            written.extend(events.iter().cloned());
            over_http.extend([None, None]);
            continue;
        }
        for path in [EVENTS, &rest, &format!("{rest}/partitions/0")] {
            let request = Request::post(path, body.clone());
            let request = if path == EVENTS { request.with("x-kafka-topic", topic) } else { request };
            let response = client.ask(with(request, headers)).await.unwrap();
            assert_eq!(response.status, 200, "{path}: {} of {message}", response.text());
            written.extend(events.iter().cloned());
            over_http.extend(events.iter().map(Some).map(Option::<&Value>::cloned));
        }
    }

    let records = kafka.read(topic, 0);
    assert_eq!(records.len(), over_http.len());
    let through: Vec<_> =
        records.iter().zip(over_http).filter_map(|(record, event)| Some((record, event?))).collect();
    assert!(through.iter().all(|(record, _)| record.key.as_deref() == Some(b"a key")));
    let lines: String = through.iter().map(|(record, _)| format!("{}\n", line(record))).collect();
    let read = sdk.run(&["read"], &lines).await;
    assert_eq!(read.len(), through.len());
    for (read, (record, event)) in read.iter().zip(&through) {
        assert_eq!(read, &json!([event]), "{record:?}");
    }

    for path in [format!("{rest}/partitions/0/records"), format!("{rest}/records")] {
        let read = sdk.read_all(&mut client, &path, "offset", "sluicegate-next-offset", records.len()).await;
        assert_eq!(read, written, "{path}");
    }
}

async fn agrees_with_nats(sdk: Sdk) {
    let (_, stack) = standard(Way::Tunnel).await;
    let (streams, stream) = (Streams::shared().await.unwrap(), format!("cloudevents-{sdk:?}"));
    streams.create(&stream, json!({})).await.unwrap();
    let path = format!("{NATS_EVENTS}/streams/{stream}");
    let mut client = Client::connect(stack.gateway()).await.unwrap();
    let mut written = Vec::new();
    for message in sdk.run(&["write", &format!("{stream}.a")], "").await {
        if message["binding"] == "http" {
            let request = Request::post(&path, bytes(&message["body"]));
            let response = client.ask(with(request, message["headers"].as_object().unwrap())).await.unwrap();
            assert_eq!(response.status, 200, "{} of {message}", response.text());
            written.extend(message["events"].as_array().unwrap().iter().cloned());
        }
    }
    let (path, next) = (format!("{path}/messages"), "sluicegate-next-sequence");
    let read = sdk.read_all(&mut client, &path, "sequence", next, written.len()).await;
    assert_eq!(read, written);
}

impl Sdk {
    /// Reads all events page by page. The log has `count` records.
    async fn read_all(
        self,
        client: &mut Client,
        path: &str,
        parameter: &str,
        next: &str,
        count: usize,
    ) -> Vec<Value> {
        let (mut events, mut end) = (Vec::new(), String::new());
        let mut query = "max_bytes=10000".to_owned();
        // Each page has a record at least, but for the last one.
        for _ in 0..=count {
            let get = Request::get(format!("{path}?{query}")).with("accept", BATCH);
            let response = client.ask(get).await.unwrap();
            assert_eq!(
                (response.status, response.header("content-type")),
                (200, Some(BATCH)),
                "{response:?}"
            );
            let message = json!({"binding": "http", "headers": {"content-type": BATCH}, "key": null,
                                 "body": STANDARD.encode(&response.body)});
            for read in self.run(&["read"], &format!("{message}\n")).await {
                events.extend(read.as_array().unwrap().iter().cloned());
            }
            let position = response.header(next).unwrap();
            if position == end {
                return events;
            }
            end = position.to_owned();
            let parameter = if end.contains(':') { format!("{parameter}s") } else { parameter.to_owned() };
            query = format!("timeout=1&max_bytes=10000&{parameter}={end}");
        }
        panic!("{path} has no end")
    }

    /// The lines of the SDK's judge.
    async fn run(self, arguments: &[&str], input: &str) -> Vec<Value> {
        let mut command = match self {
            Self::JavaScript => tools::typescript("lab/e2e/browser/cloudevents.ts").unwrap(),
            Self::Python => tools::python("lab/e2e/cloudevents/judge.py").unwrap(),
        };
        command.args(arguments);
        output(command, input).await.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn with(request: Request, headers: &Map<String, Value>) -> Request {
    headers.iter().fold(request, |request, (name, value)| request.with(name, value.as_str().unwrap()))
}

/// A record as a line for an SDK.
fn line(record: &KafkaMessage) -> Value {
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).unwrap().to_owned();
    let headers = record.headers.iter();
    let headers: Map<String, Value> =
        headers.map(|header| (header.key.clone(), text(header.value.as_deref().unwrap()).into())).collect();
    json!({"binding": "kafka", "headers": headers, "key": record.key.as_deref().map(text),
           "body": record.value.as_deref().map(|value| STANDARD.encode(value))})
}

fn bytes(base64: &Value) -> Vec<u8> {
    STANDARD.decode(base64.as_str().unwrap()).unwrap()
}

const BATCH: &str = "application/cloudevents-batch+json";
