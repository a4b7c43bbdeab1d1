//! Reads over plain HTTP, from librdkafka's mock cluster.

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
use serde_json::{Value, json};
use sluicegate_bridge::Bridge;
use sluicegate_stack::http::client::Response;
use sluicegate_stack::raw::Raw;
use sluicegate_stack::waiting::becomes;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::http::{http1, rest, send};
use crate::support::{Gateway, admin, start, start_before, with};

/// A cluster, a bridge to it and a gateway of that. The topic `t` has two partitions.
pub(crate) struct Stack {
    pub(crate) mock: MockCluster<'static, DefaultProducerContext>,
    pub(crate) bridge: Bridge,
    pub(crate) gateway: Gateway,
}

impl Stack {
    async fn start() -> Self {
        Self::start_with("").await
    }

    pub(crate) async fn start_with(more: &str) -> Self {
        let mock = MockCluster::new(1).unwrap();
        mock.create_topic("t", 2, 1).unwrap();
        let bridge =
            start_before(mock.bootstrap_servers().parse().unwrap(), "", &format!("{SMALL}\n{more}")).await;
        let gateway = Gateway::connect(&bridge).await;
        Self { mock, bridge, gateway }
    }

    /// Writes records with these values to partition 0.
    pub(crate) fn produce(&self, values: &[Option<&[u8]>]) {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", self.mock.bootstrap_servers())
            .set("linger.ms", "0")
            .create()
            .unwrap();
        for value in values {
            let headers = OwnedHeaders::new().insert(Header { key: "h", value: Some("v") });
            let mut record: BaseRecord<'_, [u8], [u8]> =
                BaseRecord::to("t").partition(0).timestamp(1_700_000_000_000).headers(headers);
            record.payload = *value;
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        producer.flush(WITHIN).unwrap();
    }

    async fn get(&self, path: &str, accept: &str) -> Response {
        send(&self.gateway, with(rest("GET", path), &[("accept", accept)])).await
    }

    #[track_caller]
    fn check(response: &Response, status: u16, content_type: &str) -> Value {
        let text = response.text();
        assert_eq!(response.status, status, "{text}");
        assert_eq!(response.headers["content-type"], content_type, "{text}");
        serde_json::from_str(text).unwrap()
    }

    async fn check_error(&self, path: &str, status: u16, error_code: u32, kafka_code: i32, says: &str) {
        let response = self.get(path, "*/*").await;
        let document = Self::check(&response, status, "application/problem+json");
        assert_eq!(document["error_code"], error_code, "{path}: {document}");
        assert_eq!(document["kafka_code"], kafka_code, "{path}: {document}");
        if let 1 | 3 = kafka_code {
            let reason = if kafka_code == 1 { "offset_out_of_range" } else { "not_found" };
            assert_eq!(document["reason"], reason, "{path}: {document}");
        }
        let message = document["message"].as_str().unwrap();
        assert!(message.contains(says), "{path}: {message}");
    }
}

#[tokio::test]
async fn records_are_read_in_the_format_that_is_accepted() {
    let stack = Stack::start().await;
    stack.produce(&[Some(b"{ \"n\": 1.10 }"), None, Some(b"\xFF"), Some(b"4")]);
    let path = "/topics/t/partitions/0/records?offset=0";
    let record = |offset: i64, value: Value| {
        json!({"topic": "t", "key": null, "value": value, "partition": 0, "offset": offset,
            "timestamp": 1_700_000_000_000_i64, "headers": [{"key": "h", "value": "dg=="}]})
    };

    let response = stack.get(path, "*/*").await;
    let records = Stack::check(&response, 200, "application/vnd.kafka.binary.v2+json");
    let encoded = [json!("eyAibiI6IDEuMTAgfQ=="), Value::Null, json!("/w=="), json!("NA==")];
    let want: Vec<Value> = (0..).zip(encoded).map(|(offset, value)| record(offset, value)).collect();
    assert_eq!(records, json!(want));

    let response = stack.get(path, "application/vnd.kafka.json.v2+json").await;
    let records = Stack::check(&response, 200, "application/vnd.kafka.json.v2+json");
    let values = [json!({"n": 1.10}), Value::Null, json!({"base64": "/w=="}), json!(4)];
    let want: Vec<Value> = (0..).zip(values).map(|(offset, value)| record(offset, value)).collect();
    assert_eq!(records, json!(want));
    assert!(response.text().contains("{ \"n\": 1.10 }"));

    for bound in ["max_bytes=1", "max_records=1"] {
        let path = format!("/topics/t/partitions/0/records?offset=1&{bound}");
        let limited = stack.get(&path, "*/*").await;
        let records = Stack::check(&limited, 200, "application/vnd.kafka.binary.v2+json");
        assert_eq!(records, json!([record(1, Value::Null)]));
        assert_eq!(positions(&limited), ["2", "0", "4", "4"]);
    }
}

/// The headers that say where to continue, and where the log starts and ends.
fn positions(response: &Response) -> [&str; 4] {
    ["next-offset", "log-start-offset", "last-stable-offset", "high-watermark"]
        .map(|name| response.headers[&format!("sluicegate-{name}")].to_str().unwrap())
}

#[tokio::test]
async fn read_is_a_page_from_the_earliest_record() {
    let stack = Stack::start().await;
    for number in 1..=5 {
        // The mock cluster answers with one batch at a time, and the bridge keeps it.
        stack.produce(&[Some(b"1")]);
        for path in ["/topics/t/partitions/0/records", "/topics/t/records"] {
            let response = stack.get(path, "*/*").await;
            let page = Stack::check(&response, 200, "application/vnd.kafka.binary.v2+json");
            assert_eq!(page.as_array().unwrap().len(), number, "{path}");
        }
    }
}

#[tokio::test]
async fn records_of_many_partitions_come_in_one_answer() {
    let stack = Stack::start().await;
    stack.produce(&[Some(b"0"), Some(b"1")]);
    let places = |document: &Value| {
        let place =
            |record: &Value| (record["partition"].as_i64().unwrap(), record["offset"].as_i64().unwrap());
        document.as_array().unwrap().iter().map(place).collect::<Vec<_>>()
    };
    let path = "/topics/t/records?offsets=1:0,0:1&timeout=0";
    let json = "application/vnd.kafka.json.v2+json";
    let read = Stack::check(&stack.get(path, json).await, 200, json);
    assert_eq!((places(&read), &read[0]["value"]), (vec![(0, 1)], &json!(1)));
    let path = "/topics/t/records?offsets=1:0,0:0&timeout=0&max_records=1";
    let one = stack.get(path, json).await;
    assert_eq!(places(&Stack::check(&one, 200, json)), [(0, 0)]);
    assert_eq!(positions(&one), ["1:0,0:1", "1:0,0:0", "1:0,0:2", "1:0,0:2"]);
    stack.check_error("/topics/t/records?offsets=0:0,7:0", 404, 40402, 3, "topic t has no partition 7").await;
    let says = "offset 5 is not within partition 0 of topic t: expected 0 to 2";
    stack.check_error("/topics/t/records?offsets=1:0,0:5", 400, 400, 1, says).await;
}

#[tokio::test]
async fn answers_keep_to_the_configured_size() {
    let stack = Stack::start().await;
    let (small, large) = ([b'x'; 100], [b'x'; 10_000]);
    let mut values: Vec<Option<&[u8]>> = vec![Some(&small); 100];
    values.push(Some(&large));
    stack.produce(&values);
    let mut offset = 0;
    while offset < 101 {
        let path = format!("/topics/t/partitions/0/records?offset={offset}&max_bytes=1000000");
        let response = stack.get(&path, "*/*").await;
        let records = Stack::check(&response, 200, "application/vnd.kafka.binary.v2+json");
        let records = records.as_array().unwrap();
        assert!(response.body.len() <= MAX_BYTES || records.len() == 1, "{} bytes", response.body.len());
        for record in records {
            assert_eq!(record["offset"], offset);
            offset += 1;
        }
    }
}

#[tokio::test]
async fn read_at_the_log_end_waits_as_asked() {
    let stack = Stack::start().await;
    for wait in [0, 300] {
        let started = Instant::now();
        let path = format!("/topics/t/partitions/0/records?offset=0&timeout={wait}");
        let response = stack.get(&path, "*/*").await;
        assert_eq!(Stack::check(&response, 200, "application/vnd.kafka.binary.v2+json"), json!([]));
        let within = Duration::from_millis(wait)..Duration::from_millis(wait) + WITHIN;
        assert!(within.contains(&started.elapsed()), "{:?}", started.elapsed());
    }
}

impl Stack {
    /// A read that waits at the log end for as long as it may.
    async fn waiting(&self) -> JoinHandle<Response> {
        let gateway = self.gateway.clone();
        let path = "/topics/t/partitions/0/records?offset=0&timeout=30000";
        let waiting = tokio::spawn(async move { send(&gateway, rest("GET", path)).await });
        // It is sent first.
        tokio::task::yield_now().await;
        self.until_another(true).await;
        waiting
    }

    /// Comes back when another read waits, or, as `waits` says, when none does: there is only one place for them.
    async fn until_another(&self, waits: bool) {
        let path = format!("/topics/t/partitions/0/records?offset=0&timeout={}", SHORT.as_millis());
        let looked = timeout(WITHIN, async {
            loop {
                let started = Instant::now();
                // Refused while the other one is a call and does not wait yet.
                let answer = send(&self.gateway, rest("GET", &path)).await;
                if answer.status == 200 && (started.elapsed() >= SHORT) != waits {
                    return;
                }
            }
        });
        looked.await.expect("long before the read's time is over");
    }
}

const SHORT: Duration = Duration::from_millis(200);

const ONE_EACH: &str = "[limits]\nmax_calls = 1\nmax_sessions = 1";

#[tokio::test]
async fn waiting_read_takes_no_place_of_other_calls() {
    let stack = Stack::start_with(ONE_EACH).await;
    let waiting = stack.waiting().await;
    let response = stack.get("/topics", "application/json").await;
    assert_eq!(Stack::check(&response, 200, "application/json"), json!(["t"]));
    assert!(!waiting.is_finished());
    waiting.abort();
}

#[tokio::test]
async fn client_that_leaves_ends_its_read() {
    let stack = Stack::start_with(ONE_EACH).await;
    let waiting = stack.waiting().await;
    waiting.abort();
    stack.until_another(false).await;
}

#[tokio::test]
async fn read_that_is_abandoned_over_http1_leaves_no_waiter() {
    let stack = Stack::start().await;
    let counts = async || {
        let (_, metrics) = admin(&stack.bridge, "/metrics").await;
        ["sluicegate_tails ", "sluicegate_tail_waiters "]
            .map(|name| metrics.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned())
    };
    for (path, waiting) in
        [("partitions/0/records?offset=0&timeout=30000", "1"), ("records?offsets=0:0,1:0&timeout=30000", "2")]
    {
        let mut client = Raw::connect(stack.bridge.address()).await;
        client.write(http1(&rest("GET", &format!("/topics/t/{path}")))).await;
        becomes("partitions and reads that wait", [waiting; 2].map(str::to_owned), WITHIN, counts).await;
        drop(client);
        becomes("partitions and reads that wait", ["0"; 2].map(str::to_owned), WITHIN, counts).await;
    }
}

#[tokio::test]
async fn drain_does_not_wait_for_waiting_reads() {
    let stack = Stack::start_with(ONE_EACH).await;
    let waiting = stack.waiting().await;
    let started = Instant::now();
    stack.bridge.drain().await;
    // It could take ten seconds.
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    let response = waiting.await.unwrap();
    assert_eq!(Stack::check(&response, 200, "application/vnd.kafka.binary.v2+json"), json!([]));
}

#[tokio::test]
async fn offsets_are_those_of_both_ends_or_of_a_time() {
    let stack = Stack::start().await;
    stack.produce(&[Some(b"1"), Some(b"2"), Some(b"3")]);
    for (query, want) in [
        ("", json!({"beginning_offset": 0, "end_offset": 3})),
        ("?timestamp=-1", json!({"offset": 3})),
        ("?timestamp=-2", json!({"offset": 0})),
    ] {
        let response = stack.get(&format!("/topics/t/partitions/0/offsets{query}"), "*/*").await;
        assert_eq!(Stack::check(&response, 200, "application/vnd.kafka.v2+json"), want, "{query}");
    }
}

#[tokio::test]
async fn topics_are_listed_and_described() {
    let stack = Stack::start().await;
    stack.mock.create_topic("a", 1, 1).unwrap();
    let response = stack.get("/topics", "application/json").await;
    assert_eq!(Stack::check(&response, 200, "application/json"), json!(["a", "t"]));
    let response = stack.get("/topics/t/", "*/*").await;
    let partition = |number: i32| {
        json!({"partition": number, "leader": 1,
            "replicas": [{"broker": 1, "leader": true, "in_sync": true}]})
    };
    let want = json!({"name": "t", "configs": {}, "partitions": [partition(0), partition(1)]});
    assert_eq!(Stack::check(&response, 200, "application/vnd.kafka.v2+json"), want);
}

#[tokio::test]
async fn missing_topics_and_partitions_are_named() {
    let stack = Stack::start().await;
    stack.produce(&[Some(b"1")]);
    for resource in ["records?offset=0", "offsets", "offsets?timestamp=5"] {
        let path = |topic: &str, partition: i32| format!("/topics/{topic}/partitions/{partition}/{resource}");
        stack.check_error(&path("no", 0), 404, 40401, 3, "topic no does not exist").await;
        stack.check_error(&path("no", 7), 404, 40401, 3, "topic no does not exist").await;
        stack.check_error(&path("t", 2), 404, 40402, 3, "topic t has no partition 2").await;
        stack.check_error(&path("a%20b", 0), 400, 400, 17, "expected 1 to 249 characters of a-z").await;
    }
    stack.check_error("/topics/no", 404, 40401, 3, "topic no does not exist").await;
    let beyond = "/topics/t/partitions/0/records?offset=2";
    let says = "offset 2 is not within partition 0 of topic t: expected 0 to 1";
    stack.check_error(beyond, 400, 400, 1, says).await;
}

#[tokio::test]
async fn parameters_that_make_no_sense_are_refused() {
    let stack = Stack::start().await;
    for (path, says) in [
        ("/topics/t/partitions/0/records?offset=x", "query parameter offset: expected a number from 0"),
        ("/topics/t/records?offset=0", "query parameter offset: expected earliest, latest, -N or s@TIME"),
        ("/topics/t/records?offsets=0:0&offset=0", "query parameter offset: expected it without offsets"),
        ("/topics/t/partitions/0/records?offset=1&offset=1", "query parameter offset is repeated"),
        (
            "/topics/t/records?offsets=0",
            "query parameter offsets: expected PARTITION:OFFSET of 1 to 256 partitions",
        ),
        ("/topics/t/partitions/0/offsets?isolation=x", "isolation: expected read_committed"),
        ("/topics/t/partitions/0/offsets?timestamp=-4", "timestamp: expected a whole number from -3"),
        ("/topics/t/partitions/0/offsets?timestamp=9223372036854775808", "timestamp: expected"),
        ("/topics/t/partitions/0/offsets?offset=1", "unknown query parameter offset: expected timestamp"),
        ("/topics?internal=1", "unknown query parameter internal: expected none"),
    ] {
        let response = stack.get(path, "application/vnd.kafka.v2+json").await;
        let document = Stack::check(&response, 400, "application/vnd.kafka.v2+json");
        let message = document["message"].as_str().unwrap();
        assert!(message.contains(says), "{path}: {message}");
    }
}

#[tokio::test]
async fn readers_are_told_to_come_back_while_kafka_is_down() {
    let bridge = start("").await;
    let gateway = Gateway::connect(&bridge).await;
    for path in
        ["/topics", "/topics/t", "/topics/t/partitions/0/offsets", "/topics/t/partitions/0/records?offset=0"]
    {
        let response = send(&gateway, rest("GET", path)).await;
        let document = Stack::check(&response, 503, "application/problem+json");
        assert_eq!(document["error_code"], 50003, "{path}: {document}");
        assert!(
            !document.to_string().contains("127.0.0.1"),
            "where brokers are is nobody's business: {document}"
        );
        assert_eq!(response.headers["retry-after"], "1", "{path}");
    }
}

#[tokio::test]
async fn head_is_answered_as_get() {
    let stack = Stack::start().await;
    for path in ["/topics", "/topics/t", "/topics/t/partitions/0/offsets"] {
        let mut client = Raw::connect(stack.bridge.address()).await;
        client.write([http1(&rest("HEAD", path)), http1(&rest("GET", path))].concat()).await;
        let (head, get) = (client.head().await.unwrap(), client.response().await);
        check_head(head, get);
        let head = send(&stack.gateway, rest("HEAD", path)).await;
        assert!(head.body.is_empty());
        check_head(head, send(&stack.gateway, rest("GET", path)).await);
    }
}

#[track_caller]
fn check_head(mut head: Response, mut get: Response) {
    assert_eq!((head.status, get.status), (200, 200));
    assert_eq!(head.headers["content-length"], get.body.len().to_string());
    for response in [&mut head, &mut get] {
        response.headers.remove("date");
    }
    assert_eq!(head.headers, get.headers);
}

const MAX_BYTES: usize = 4096;
const SMALL: &str = "[read]\nmax_bytes = 4096";
const WITHIN: Duration = Duration::from_secs(20);
