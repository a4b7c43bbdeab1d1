//! Consumers of REST proxies through Envoy and two bridges, of which one ends.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use sluicegate_stack::http::client::{Request, Response};
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::stack::Stack;
use sluicegate_stack::way::Way;
use tokio::time::{Instant, sleep};

use crate::http::openapi::ask;
use crate::pool::{Config, REST};

const GROUP: &str = "pair";
const RECORDS: i64 = 200;
const PARTITIONS: i32 = 4;
/// A group without members waits 3 s for more of them, and one that lost its bridge at most as long again.
const WITHIN: Duration = Duration::from_secs(60);
const V2: &str = "application/vnd.kafka.v2+json";
const JSON: &str = "application/vnd.kafka.json.v2+json";

/// Clients of one group.
#[derive(Clone, Copy)]
struct Client {
    gateway: SocketAddr,
}

impl Client {
    async fn ask(self, method: &str, path: &str, body: Option<&Value>) -> Response {
        let mut request = Request::new(method, format!("{REST}/consumers/{GROUP}{path}"));
        if let Some(body) = body {
            request = request.body(body.to_string()).with("content-type", V2);
        }
        ask(self.gateway, request.with("accept", if path.contains("/records") { JSON } else { V2 })).await
    }

    async fn check(self, method: &str, path: &str, body: Option<Value>, status: u16) -> Response {
        let response = self.ask(method, path, body.as_ref()).await;
        assert_eq!(response.status, status, "{method} {path}: {response:?}");
        response
    }

    /// A consumer of the topic, which commits by itself.
    async fn create(self, name: &str, topic: &str) {
        let body = json!({"name": name, "format": "json", "auto.offset.reset": "earliest",
                          "auto.commit.enable": "true", "auto.commit.interval.ms": 0});
        let created = self.check("POST", "", Some(body), 200).await.json();
        let base = format!("http://{}{REST}/consumers/{GROUP}/instances/{name}", self.gateway);
        assert_eq!(created, json!({"instance_id": name, "base_uri": base}));
        let path = format!("/instances/{name}/subscription");
        self.check("POST", &path, Some(json!({"topics": [topic]})), 204).await;
    }

    /// The number of partitions that a consumer has.
    async fn share(self, name: &str) -> usize {
        let path = format!("/instances/{name}/assignments");
        let assigned = self.check("GET", &path, None, 200).await.json();
        assigned["partitions"].as_array().unwrap().len()
    }

    /// Reads once; a gateway can lose requests whose bridge ends.
    async fn poll(self, name: &str, seen: &mut Vec<(i64, i64)>) {
        let path = format!("/instances/{name}/records?timeout=500");
        let response = self.ask("GET", &path, None).await;
        match response.status {
            200 => {
                let place =
                    |record: &Value| Some((record["partition"].as_i64()?, record["offset"].as_i64()?));
                seen.extend(response.json().as_array().unwrap().iter().map(|record| place(record).unwrap()));
            }
            502..=504 => sleep(Duration::from_millis(100)).await,
            _ => panic!("{path}: {response:?}"),
        }
    }
}

async fn write(gateway: SocketAddr, topic: &str) {
    let records: Vec<Value> = (0..RECORDS)
        .map(|number| json!({"value": {"n": number}, "partition": number % i64::from(PARTITIONS)}))
        .collect();
    let body = json!({"records": records}).to_string();
    let began = Instant::now();
    loop {
        let post = Request::post(format!("{REST}/topics/{topic}"), body.clone()).with("content-type", JSON);
        match ask(gateway, post).await.status {
            200 => return,
            // Of a bridge that is gone: nothing was written.
            503 if began.elapsed() < WITHIN => sleep(Duration::from_millis(100)).await,
            status => panic!("a write is answered with {status}"),
        }
    }
}

#[tokio::test]
async fn consumers_of_proxies_outlive_their_bridge() {
    let kafka = Kafka::shared().await.unwrap();
    let topic = &kafka.topic("rest-groups", PARTITIONS, &[]).await.unwrap();
    let route = json!({"path": REST, "type": "rest", "write": true, "consume": ["*"]});
    let mut setup = Config::new(Way::Tunnel).await.writing(&["default"]).routes([route]).setup();
    setup.bridges = 2;
    let mut stack = Stack::start(setup).await.unwrap();
    stack.ready_within(Duration::from_secs(30)).await.unwrap();
    let gateway = stack.gateway();
    write(gateway, topic).await;

    // Two consumers share the topic. The bridge that has them ends.
    let pair = Client { gateway };
    pair.create("a", topic).await;
    pair.create("b", topic).await;
    let mut seen = [Vec::new(), Vec::new()];
    let began = Instant::now();
    // A consumer that is alone would read everything.
    while pair.share("a").await != 2 || pair.share("b").await != 2 {
        assert!(began.elapsed() < WITHIN, "both have a share");
        sleep(Duration::from_millis(100)).await;
    }
    while seen.iter().any(Vec::is_empty) && began.elapsed() < WITHIN {
        pair.poll("a", &mut seen[0]).await;
        pair.poll("b", &mut seen[1]).await;
    }
    assert!(seen.iter().all(|seen| !seen.is_empty()), "both have records: {seen:?}");
    let mut hosts = 0;
    let mut is_first = false;
    for (number, bridge) in stack.bridges().enumerate() {
        if bridge.count("sluicegate_consumers{", "").await.unwrap() > 0.0 {
            (hosts, is_first) = (hosts + 1, number == 0);
        }
    }
    assert_eq!(hosts, 1, "requests of a group reach one bridge, as `envoy/tunnel.yaml` says");
    let killed = if is_first { &mut stack.bridge } else { &mut stack.others[0] };
    killed.process.kill();
    write(gateway, topic).await;
    let (began, mut all) = (Instant::now(), BTreeSet::new());
    while all.len() < 2 * RECORDS as usize && began.elapsed() < WITHIN {
        pair.poll("a", &mut seen[0]).await;
        pair.poll("b", &mut seen[1]).await;
        all = seen.iter().flatten().copied().collect();
    }
    assert_eq!(all.len(), 2 * RECORDS as usize, "none is lost");
    let repeats = seen.iter().map(Vec::len).sum::<usize>() - all.len();
    assert!(repeats <= RECORDS as usize, "{repeats} repeats");
    pair.check("DELETE", "/instances/a", None, 204).await;
    pair.check("DELETE", "/instances/b", None, 204).await;
}
