//! Reads over plain HTTP, from librdkafka's mock cluster.

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
use serde_json::{Value, json};
use sluicegate_bridge::Bridge;
use sluicegate_stack::http::client::Response;
use sluicegate_stack::raw::Raw;
use sluicegate_stack::waiting::becomes;
use tokio::task::JoinHandle;

use crate::http::{http1, rest, send};
use crate::support::{Gateway, metric, mock, start_on, with};

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
        let mock = mock(2);
        let bridge = start_on(&mock, more).await;
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
            let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to("t").partition(0);
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

const BINARY: &str = "application/vnd.kafka.binary.v2+json";
const JSON: &str = "application/vnd.kafka.json.v2+json";

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
            let page = Stack::check(&stack.get(path, "*/*").await, 200, BINARY);
            assert_eq!(page.as_array().unwrap().len(), number, "{path}");
        }
    }
}

#[tokio::test]
async fn filter_leaves_records_of_a_page_out() {
    let stack = Stack::start().await;
    stack.produce(&[Some(b"1")]);
    for path in ["/topics/t/partitions/0/records", "/topics/t/records"] {
        // {"key":"none"}
        let filtered = format!("{path}?filter=%7B%22key%22%3A%22none%22%7D");
        let page = Stack::check(&stack.get(&filtered, "*/*").await, 200, BINARY);
        assert_eq!(page.as_array().unwrap().len(), 0, "{path}");
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
    let read = Stack::check(&stack.get(path, JSON).await, 200, JSON);
    assert_eq!((places(&read), &read[0]["value"]), (vec![(0, 1)], &json!(1)));
    let path = "/topics/t/records?offsets=1:0,0:0&timeout=0&max_records=1";
    let one = stack.get(path, JSON).await;
    assert_eq!(places(&Stack::check(&one, 200, JSON)), [(0, 0)]);
    assert_eq!(positions(&one), ["1:0,0:1", "1:0,0:0", "1:0,0:2", "1:0,0:2"]);
    stack.check_error("/topics/t/records?offsets=0:0,7:0", 404, 40402, 3, "topic t has no partition 7").await;
    let says = "offset 5 is not within partition 0 of topic t: expected 0 to 2";
    stack.check_error("/topics/t/records?offsets=1:0,0:5", 400, 400, 1, says).await;
}

impl Stack {
    /// A read that waits at the log end for as long as it may.
    async fn waiting(&self) -> JoinHandle<Response> {
        let gateway = self.gateway.clone();
        let read = rest("GET", "/topics/t/partitions/0/records?offset=0&timeout=30000");
        let waiting = tokio::spawn(async move { send(&gateway, read).await });
        self.waiting_reads_become(1).await;
        waiting
    }

    /// Waits until so many partitions have a read that waits.
    async fn waiting_reads_become(&self, count: u64) {
        let names = ["sluicegate_tails", "sluicegate_tail_waiters"];
        let counts = async || [metric(&self.bridge, names[0]).await, metric(&self.bridge, names[1]).await];
        becomes("partitions and reads that wait", [count; 2], WITHIN, counts).await;
    }
}

const ONE_EACH: &str = "[limits]\nmax_calls = 1\nmax_sessions = 1";

#[tokio::test]
async fn waiting_read_takes_no_place_of_other_calls_and_ends_with_its_client() {
    let stack = Stack::start_with(ONE_EACH).await;
    let waiting = stack.waiting().await;
    let response = stack.get("/topics", "application/json").await;
    assert_eq!(Stack::check(&response, 200, "application/json"), json!(["t"]));
    assert!(!waiting.is_finished());
    waiting.abort();
    stack.waiting_reads_become(0).await;
    for (path, count) in
        [("partitions/0/records?offset=0&timeout=30000", 1), ("records?offsets=0:0,1:0&timeout=30000", 2)]
    {
        let mut client = Raw::connect(stack.bridge.address()).await;
        client.write(http1(&rest("GET", &format!("/topics/t/{path}")))).await;
        stack.waiting_reads_become(count).await;
        drop(client);
        stack.waiting_reads_become(0).await;
    }
}

#[tokio::test]
async fn drain_does_not_wait_for_waiting_reads() {
    let stack = Stack::start().await;
    let waiting = stack.waiting().await;
    let started = Instant::now();
    stack.bridge.drain().await;
    // It could take ten seconds.
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    let response = waiting.await.unwrap();
    assert_eq!(Stack::check(&response, 200, BINARY), json!([]));
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
async fn head_is_answered_as_get() {
    let stack = Stack::start().await;
    for (path, status) in
        [("/topics", 200), ("/topics/t", 200), ("/topics/t/partitions/0/offsets", 200), ("/nothing", 404)]
    {
        let mut client = Raw::connect(stack.bridge.address()).await;
        client.write([http1(&rest("HEAD", path)), http1(&rest("GET", path))].concat()).await;
        let over_http1 = [client.head().await.unwrap(), client.response().await];
        let over_http2 =
            [send(&stack.gateway, rest("HEAD", path)).await, send(&stack.gateway, rest("GET", path)).await];
        for [mut head, mut get] in [over_http1, over_http2] {
            assert_eq!((head.status, get.status), (status, status), "{path}");
            assert!(head.body.is_empty());
            assert_eq!(head.headers["content-length"], get.body.len().to_string());
            for response in [&mut head, &mut get] {
                response.headers.remove("date");
            }
            assert_eq!(head.headers, get.headers);
        }
    }
}

const WITHIN: Duration = Duration::from_secs(20);

#[tokio::test]
async fn answers_keep_to_the_configured_size() {
    let stack = Stack::start_with("[read]\nmax_bytes = 4096").await;
    stack.produce(&[Some(&[b'x'; 100][..]); 100]);
    for path in ["partitions/0/records?offset=0", "records?offsets=0:0"] {
        let response = stack.get(&format!("/topics/t/{path}&max_bytes=1000000"), "*/*").await;
        let records = Stack::check(&response, 200, BINARY);
        assert!(records.as_array().unwrap().len() > 1 && response.body.len() <= 4096, "{path}");
    }
}
