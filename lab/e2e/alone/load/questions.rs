//! Clients of one address ask the cluster without pause; a client of another address is answered as fast as before.

use std::time::Duration;

use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{
    CmdKafkaListOffset, CmdKafkaListOffsets, CmdKafkaMetadata, CmdKafkaSubscribe, KafkaSource,
};
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::raw::{Raw, request};
use sluicegate_stack::socket::Socket;
use sluicegate_stack::way::Way;
use sluicegate_tests::in_ways;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::load::bench::{ATTACKER, Bench};
use crate::load::memory::{Memory, stuck_session};

// The gateway has no part in it.
in_ways! {
    [direct]
    lookups_of_missing_topics_delay_nobody
    ends_of_many_partitions_cost_few_requests
    descriptions_of_wide_topic_delay_nobody
}

/// The commands that a session can have in flight: `limits.max_commands_per_session`.
pub(crate) const AT_ONCE: i64 = 16;

async fn lookups_of_missing_topics_delay_nobody(way: Way) {
    let bench = Bench::new(way).await;
    let before = Memory::now(&bench);
    // Each asks for 16 × 60 topics at the same time, none of which another one asks for.
    let clients = 70;
    let missing =
        |client, command| (0..60).map(move |topic| (format!("missing-{client}-{command}-{topic}"), 0));
    let ends = move |client, command| ends_of(missing(client, command));
    let mut attack = ask_without_pause(&bench, clients, ends).await;
    check(subscribe(&bench).await);
    let bridge = clients * stuck_session();
    before.check(&bench, "70 clients ask for missing topics", Memory { gateway: 0, bridge });
    assert!(attack.try_join_next().is_none(), "an attacker was closed");
}

async fn ends_of_many_partitions_cost_few_requests(way: Way) {
    let bench = Bench::new(way).await;
    let wide = Kafka::shared().await.unwrap().topic("wide", 60, &[]).await.unwrap();
    let requests = || bench.stack.bridge.count("sluicegate_kafka_requests_total{", "api=\"ListOffsets\"");
    let (asked, sent) = (bench.commands().await, requests().await.unwrap_or_default());
    let ends = move |_, _| ends_of((0..60).map(|partition| (wide.clone(), partition)));
    let mut attack = ask_without_pause(&bench, 4, ends).await;
    check(subscribe(&bench).await);
    let (asked, sent) = (bench.commands().await - asked, requests().await.unwrap() - sent);
    assert!(sent * 4.0 < asked, "{asked} commands cost {sent} requests");
    assert!(attack.try_join_next().is_none(), "an attacker was closed");
}

#[expect(clippy::print_stdout, reason = "a measurement, for `--nocapture`")]
async fn descriptions_of_wide_topic_delay_nobody(way: Way) {
    let bench = Bench::new(way).await;
    let wide = Kafka::shared().await.unwrap().topic("wide", PARTITIONS, &[]).await.unwrap();
    let cpu = || bench.stack.bridge.process.usage().unwrap().cpu;
    let (asked, spent) = (bench.commands().await, cpu());
    let describe = move |_, _| {
        Req::CmdKafkaMetadata(CmdKafkaMetadata { topics: vec![wide.clone()], ..Default::default() })
    };
    let mut attack = ask_without_pause(&bench, 4, describe).await;
    let disturbed = ping(&bench).await;
    let (asked, spent) = (bench.commands().await - asked, cpu() - spent);
    let cost = spent.div_f64(asked);
    let text = format!("{asked} commands took {cost:?} each, pings {disturbed:?}");
    println!("{text}");
    assert!(cost < DESCRIPTION && disturbed.p90 < DESCRIBED_WITHIN, "{text}");
    assert!(attack.try_join_next().is_none(), "an attacker was closed");
}

/// Lets clients of one address ask without pause, each with as many commands in flight as it can have.
pub(crate) async fn ask_without_pause(
    bench: &Bench,
    clients: u64,
    question: impl Fn(u64, i64) -> Req + Clone + Send + Sync + 'static,
) -> JoinSet<()> {
    let mut attack = JoinSet::new();
    for client in 0..clients {
        let mut raw = Raw::open_from(bench.stack.gateway(), ATTACKER).await;
        let question = question.clone();
        attack.spawn(async move {
            for command in 1..=AT_ONCE {
                raw.write(request(command, question(client, command))).await;
            }
            for command in AT_ONCE + 1.. {
                raw.frame().await;
                raw.write(request(command, question(client, command))).await;
            }
        });
    }
    attack
}

fn ends_of(partitions: impl Iterator<Item = (String, i32)>) -> Req {
    let offset = |(topic, partition)| CmdKafkaListOffset { topic, partition, timestamp: -1 };
    let offsets = partitions.map(offset).collect();
    Req::CmdKafkaListOffsets(CmdKafkaListOffsets { offsets, ..Default::default() })
}

/// The time that a bystander's pings take.
#[derive(Debug)]
pub(crate) struct Pings {
    /// Nine of ten are faster: the slowest ones wait for a core beside all other programs of a machine.
    pub(crate) p90: Duration,
    #[expect(dead_code, reason = "printed")]
    p99: Duration,
}

pub(crate) async fn ping(bench: &Bench) -> Pings {
    let mut socket = Socket::open(&bench.stack).await;
    let mut times = Vec::new();
    for _ in 0..PINGS {
        let start = Instant::now();
        socket.ping().await;
        times.push(start.elapsed());
        // So that they meet all that a second brings.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    times.sort_unstable();
    Pings { p90: times[PINGS * 9 / 10 - 1], p99: times[PINGS * 99 / 100 - 1] }
}

/// The times that the subscriptions of a bystander take, the shortest first.
async fn subscribe(bench: &Bench) -> Vec<Duration> {
    let mut times = Vec::new();
    for _ in 0..COUNT {
        let mut socket = Socket::open(&bench.stack).await;
        let source = KafkaSource { topic: bench.small.to_owned(), ..Default::default() };
        let command = CmdKafkaSubscribe { sources: vec![source], ..Default::default() };
        let start = Instant::now();
        match socket.ask(Req::CmdKafkaSubscribe(command)).await {
            Resp::KafkaSubscribedResp(_) => times.push(start.elapsed()),
            other => panic!("{other:?} instead of a subscription"),
        }
        // Until what is known of the topic is asked for again.
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    times.sort_unstable();
    times
}

#[track_caller]
#[expect(clippy::print_stdout, reason = "a measurement, for `--nocapture`")]
fn check(times: Vec<Duration>) {
    println!("subscriptions took {times:?}");
    let [p50, p90] = [COUNT / 2, COUNT * 9 / 10].map(|count| times[count - 1]);
    assert!(p50 < WITHIN && p90 < LATE, "subscriptions took {times:?}");
}

const COUNT: usize = 10;

const PINGS: usize = 200;

/// A broker needs more than 10 s for 2,500 if it shares two cores. A debug build takes as long to describe them as a
/// release build for some thousands.
const PARTITIONS: i32 = 1_000;

/// The bridge spends less time on a command: up to 300 µs where cores are slow. To describe so many partitions each time,
/// a debug build would need 1.5 ms where they are not.
const DESCRIPTION: Duration = Duration::from_micros(700);

/// Nine of ten pings are faster beside descriptions; nearly all take up to 32 ms on a free machine.
const DESCRIBED_WITHIN: Duration = Duration::from_millis(100);

/// Half of the subscriptions are faster, and nine of ten pings, although all programs share a few cores.
pub(crate) const WITHIN: Duration = Duration::from_millis(100);

/// Nine of ten subscriptions are faster: 85 ms in a debug build that shares two cores with Kafka and the attackers, and
/// more if others use these, too. Pings beside random reads take up to 55 ms. Without shares both take seconds.
pub(crate) const LATE: Duration = Duration::from_millis(400);
