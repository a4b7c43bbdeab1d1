//! A real Varnish in front of Envoy: the bridge answers few of many readers' requests.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::json;
use sluicegate_stack::folder::Folder;
use sluicegate_stack::http::client::{Client, Request, ask};
use sluicegate_stack::kafka::{Kafka, Record, Write};
use sluicegate_stack::port::Port;
use sluicegate_stack::process::{Process, allow_many_files};
use sluicegate_stack::tools;
use sluicegate_stack::waiting::becomes;
use sluicegate_stack::way::Way;
use tokio::time::sleep;

use crate::pool::Config;

/// Readers that wait at the end from the beginning on, and those that catch up first.
const HALF: usize = 500;
/// Two full pages, and a part of one.
const KEPT: u64 = 20_000;
const LIVE: u64 = 200;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Varnish: ./dev streams"]
#[expect(clippy::print_stdout, reason = "a measurement, for `--nocapture`")]
async fn cache_answers_nearly_all_of_a_thousand_readers() {
    allow_many_files().unwrap();
    let kafka = Kafka::shared().await.unwrap();
    let topic = &kafka.topic("cached", 1, &[]).await.unwrap();
    let route = json!({"path": "/public", "type": "streams", "public": true, "topics": [topic]});
    let stack = Config::new(Way::Tunnel).await.routes([route]).own().await;
    let path = format!("/public/{topic}/0");
    let varnish = Varnish::start(stack.gateway()).await;
    let cache = varnish.port.address();
    write(kafka, topic, 0, KEPT).await;

    let asked = Arc::new(AtomicU64::new(0));
    let head = ask(stack.gateway(), Request::new("HEAD", &path)).await;
    let end = head.header("stream-next-offset").unwrap().to_owned();
    let start_reader = |offset: &str, first| {
        let reader =
            Reader { path: path.clone(), offset: offset.to_owned(), next: first, asked: asked.clone() };
        tokio::spawn(reader.follow(cache))
    };
    let mut readers: Vec<_> = (0..HALF).map(|_| start_reader(&end, KEPT)).collect();
    becomes("the readers wait", true, WITHIN, async || asked.load(Ordering::Relaxed) == HALF as u64).await;
    let writer = async {
        for written in (0..LIVE).step_by(10) {
            // Time for readers to learn that nothing came.
            sleep(Duration::from_millis(if written == LIVE / 2 { 5_000 } else { 300 })).await;
            write(kafka, topic, KEPT + written, 10).await;
        }
    };
    let late = async {
        for _ in 0..HALF {
            sleep(Duration::from_millis(5)).await;
            readers.push(start_reader("-1", 0));
        }
    };
    tokio::join!(writer, late);
    for reader in readers {
        reader.await.unwrap();
    }
    let asked = asked.load(Ordering::Relaxed);
    let answered = stack.bridge.count("sluicegate_http_responses_total", "route=\"stream\"").await.unwrap();
    println!("the bridge answered {answered} of {asked} requests");
    assert!(answered * 50.0 <= asked as f64, "{answered} of {asked}");
}

#[tokio::test]
#[ignore = "needs Varnish: ./dev streams"]
async fn pages_of_other_origins_can_read_what_the_cache_has_kept() {
    let kafka = Kafka::shared().await.unwrap();
    let topic = &kafka.topic("cached", 1, &[]).await.unwrap();
    write(kafka, topic, 0, 10).await;
    for origins in [json!(["*"]), json!(["https://app.example"])] {
        let route = json!({"path": "/public", "type": "streams", "public": true, "origins": origins});
        let stack = Config::new(Way::Tunnel).await.routes([route]).own().await;
        let varnish = Varnish::start(stack.gateway()).await;
        let get = || Request::get(format!("/public/{topic}/0?offset=-1"));
        ask(varnish.port.address(), get()).await;
        let answer = ask(varnish.port.address(), get().with("origin", "https://app.example")).await;
        assert!(answer.header("access-control-allow-origin").is_some(), "{answer:?}");
    }
}

/// A reader of consecutive numbers from an offset on.
struct Reader {
    path: String,
    offset: String,
    next: u64,
    asked: Arc<AtomicU64>,
}

impl Reader {
    /// Reads to the last number, as the official client does.
    async fn follow(mut self, cache: SocketAddr) {
        let mut client = Client::connect(cache).await.unwrap();
        let mut waits = self.next > 0;
        let mut cursor = String::new();
        while self.next < KEPT + LIVE {
            let Self { path, offset, .. } = &self;
            let live = if waits { "&live=long-poll&timeout=3000" } else { "" };
            let request = Request::get(format!("{path}?offset={offset}{live}{cursor}"));
            self.asked.fetch_add(1, Ordering::Relaxed);
            let answer = client.ask(request).await.unwrap();
            assert!(matches!(answer.status, 200 | 204), "{answer:?}");
            if answer.status == 200 {
                for number in serde_json::from_slice::<Vec<u64>>(&answer.body).unwrap() {
                    assert_eq!(number, self.next);
                    self.next += 1;
                }
            }
            self.offset = answer.header("stream-next-offset").unwrap().to_owned();
            waits = answer.header("stream-up-to-date").is_some();
            cursor =
                answer.header("stream-cursor").map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
        }
        assert_eq!(self.next, KEPT + LIVE);
    }
}

struct Varnish {
    port: Port,
    _process: Process,
    _folder: Folder,
}

impl Varnish {
    async fn start(gateway: SocketAddr) -> Self {
        let (port, folder) = (Port::pick().unwrap(), Folder::new("varnish").unwrap());
        let vcl = fs::read_to_string(tools::workspace().join("lab/e2e/streams/cache.vcl")).unwrap();
        let vcl = folder.write("cache.vcl", &vcl.replace("PORT", &gateway.port().to_string())).unwrap();
        let mut varnish = Command::new("varnishd");
        varnish.args(["-F", "-j", "none", "-s", "malloc,64m", "-a", &port.address().to_string()]);
        varnish.arg("-f").arg(vcl).arg("-n").arg(folder.path().join("state"));
        let mut process = Process::spawn("Varnish", varnish, &folder.path().join("varnish.log")).unwrap();
        let listens = async || match Client::connect(port.address()).await {
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        process.until("listen", Duration::from_secs(20), listens).await.unwrap();
        Self { port, _process: process, _folder: folder }
    }
}

/// Writes the numbers from `first` on.
async fn write(kafka: &Kafka, topic: &str, first: u64, count: u64) {
    let records: Vec<Record> = (first..first + count).map(|number| Record::of(number.to_string())).collect();
    kafka.produce(topic, 0, &records, Write::default()).await.unwrap();
}

const WITHIN: Duration = Duration::from_secs(30);
