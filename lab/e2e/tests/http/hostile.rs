//! Malformed requests: each gets the status that HTTP demands, nothing is written, no internals leak, and other clients
//! are not affected.

mod exchange;
mod malformed;

use std::fs;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use sluicegate_stack::http::client::{Client, Request};
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::process::Process;
use sluicegate_stack::random::Random;
use sluicegate_stack::raw::Raw;
use sluicegate_stack::socket::Socket;
use sluicegate_stack::stack::Stack;
use sluicegate_stack::waiting::becomes;
use sluicegate_stack::way::Way;
use sluicegate_tests::in_ways;

use self::exchange::exchange;
use self::malformed::{CLASSES, Class, Want};
use crate::http::answers::written;
use crate::http::openapi::ask;
use crate::pool::{ANY, SECRET, count, routed};

in_ways! {
    [tunnel full relay]
    body_that_stops_gives_its_memory_back
}

/// Of each kind.
const REQUESTS: usize = 60;
const SEED: u64 = 20_260_731;
const AT_ONCE: usize = 16;

/// The parser in front of the filter is the same in both profiles.
#[tokio::test]
async fn malformed_requests_write_nothing_and_learn_nothing() {
    let kafka = Kafka::shared().await.unwrap();
    let victim = &kafka.topic("victim", 1, &[]).await.unwrap();
    let good = &kafka.topic("bystander", 1, &[]).await.unwrap();
    let stack = routed(Way::Tunnel).await.with_secret().own().await;
    let hidden = hidden(&stack, kafka);
    let mut bystander = Client::connect(stack.gateway()).await.unwrap();
    let mut session = Socket::open(&stack).await;
    let mut before = None;
    for round in 0..REQUESTS {
        let seeds = round * CLASSES.len()..(round + 1) * CLASSES.len();
        stream::iter(seeds)
            .for_each_concurrent(AT_ONCE, |number| play(&stack, victim, number, &hidden))
            .await;
        let request = Request::post(ANY, "good").with("x-kafka-topic", good);
        let response = bystander.ask(request).await.unwrap();
        assert_eq!(written(&response, good).offset, round as i64);
        session.ping().await;
        // Memory that the first of them made the parts allocate is theirs to keep.
        before.get_or_insert_with(|| parts(&stack).map(size));
    }
    for (topic, end) in [(victim, 0), (good, REQUESTS as i64)] {
        assert_eq!(kafka.watermarks(topic, 0).unwrap(), (0, end), "{topic}");
    }
    for (part, (files, memory)) in parts(&stack).into_iter().zip(before.unwrap()) {
        becomes("files are closed", true, Duration::from_secs(20), async || size(part).0 <= files + 8).await;
        let grown = size(part).1.saturating_sub(memory);
        assert!(grown < 64 << 20, "{} bytes more in {}", grown, part.log().display());
    }
    let waiting = async || count(&stack, "write_queue_records").await;
    becomes("nothing waits", 0.0, Duration::from_secs(20), waiting).await;
    assert_eq!(stack.envoy().filter_reloads().await.unwrap(), 0);
    for part in parts(&stack) {
        let log = fs::read_to_string(part.log()).unwrap();
        let signs = ["panicked", "[critical]", " ERROR ", "unreachable", SECRET];
        let bad: Vec<&str> =
            log.lines().filter(|line| signs.iter().any(|sign| line.contains(sign))).collect();
        assert!(bad.is_empty(), "{bad:?}");
    }
}

/// The time for requests is over for a body, and not for a session.
async fn body_that_stops_gives_its_memory_back(way: Way) {
    let kafka = Kafka::shared().await.unwrap();
    let topic = kafka.topic("stops", 1, &[]).await.unwrap();
    let short = ("request_timeout: 60s".to_owned(), "request_timeout: 1s".to_owned());
    let config = routed(way).await.keys("\"max_assembly_bytes\": 1100000,").one_worker().edit(short);
    let stack = config.own().await;
    let mut session = Socket::open(&stack).await;
    let head = format!(
        "POST {ANY} HTTP/1.1\r\nhost: a\r\nx-kafka-topic: {topic}\r\ncontent-length: 1000000\r\n\r\n"
    );
    let stops = [head.as_bytes(), &[b'v'; 900_000]].concat();
    let large = || Request::post(ANY, vec![b'v'; 500_000]).with("x-kafka-topic", &topic);
    for _ in 0..2 {
        assert_eq!(Raw::connect(stack.gateway()).await.ask(&stops).await.status, 408);
        let response = ask(stack.gateway(), large()).await;
        assert_eq!(response.status, 200, "{response:?}");
    }
    assert_eq!(kafka.watermarks(&topic, 0).unwrap(), (0, 2));
    session.ping().await;
}

/// Request `number`, which is of the class and from the seed that its number says.
async fn play(stack: &Stack, topic: &str, number: usize, hidden: &[String]) {
    let Class { name, make, want } = &CLASSES[number % CLASSES.len()];
    let mut random = Random::new(SEED.wrapping_add(number as u64));
    let bytes = make(&mut random, topic);
    let answers = match want {
        Want::Silence => 0,
        Want::Sequence(all) => all.len(),
        Want::Status(_) | Want::StatusOrEnd(_) => 1,
    };
    let cut = random.below(bytes.len());
    let seen = exchange(stack.gateway(), &bytes, cut, answers).await;
    let what =
        || format!("{name}, request {number}: {:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(400)]));
    for secret in hidden {
        let told = seen.bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!told, "{} was told {secret}: {:?}", what(), String::from_utf8_lossy(&seen.bytes));
    }
    let as_wanted = match want {
        Want::Status(all) => {
            !seen.statuses.is_empty() && seen.statuses.iter().all(|status| all.contains(status))
        }
        Want::Sequence(all) => seen.statuses == *all,
        Want::Silence => seen.statuses.is_empty() && !seen.ended,
        Want::StatusOrEnd(all) => {
            (seen.ended || !seen.statuses.is_empty())
                && seen.statuses.iter().all(|status| all.contains(status))
        }
    };
    assert!(as_wanted, "{}: {want:?} was expected, seen {:?}", what(), String::from_utf8_lossy(&seen.bytes));
}

/// Texts that no client may learn.
fn hidden(stack: &Stack, kafka: &Kafka) -> Vec<String> {
    let ports = [stack.bridge.grpc(), stack.bridge.admin(), stack.envoy().admin()]
        .map(|address| address.port().to_string());
    [
        vec![SECRET.to_owned(), kafka.bootstrap(), "sluicegate_bridge".to_owned()],
        ports.map(|port| format!(":{port}")).to_vec(),
    ]
    .concat()
}

fn parts(stack: &Stack) -> [&Process; 2] {
    [&stack.envoy().process, &stack.bridge.process]
}

/// Open files, and bytes of memory.
fn size(part: &Process) -> (u64, u64) {
    let usage = part.usage().unwrap();
    (usage.descriptors, usage.resident_bytes)
}
