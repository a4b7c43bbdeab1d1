//! Clients of one address ask the cluster without pause; a client of another address is answered as fast as before.

use std::time::Duration;

use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{CmdKafkaListOffset, CmdKafkaListOffsets, CmdKafkaSubscribe, KafkaSource};
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
}

/// The commands that a session can have in flight: `limits.max_commands_per_session`.
pub(crate) const AT_ONCE: i64 = 16;

async fn lookups_of_missing_topics_delay_nobody(way: Way) {
    let bench = Bench::new(way).await;
    let before = Memory::now(&bench);
    // Each asks for 16 × 60 topics at the same time, none of which another one asks for.
    let clients = 70;
    let ends = move |client, command| {
        let offset = |topic| CmdKafkaListOffset {
            topic: format!("missing-{client}-{command}-{topic}"),
            partition: 0,
            timestamp: -1,
        };
        let offsets = (0..60).map(offset).collect();
        Req::CmdKafkaListOffsets(CmdKafkaListOffsets { offsets, ..Default::default() })
    };
    let mut attack = ask_without_pause(&bench, clients, ends).await;
    check(subscribe(&bench).await);
    let bridge = clients * stuck_session();
    before.check(&bench, "70 clients ask for missing topics", Memory { gateway: 0, bridge });
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
            for command in AT_ONCE + 1..=i64::MAX {
                raw.frame().await;
                raw.write(request(command, question(client, command))).await;
            }
        });
    }
    attack
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

const PINGS: usize = 100;

/// Half of the subscriptions are faster, and nine of ten pings, although all programs share a few cores.
pub(crate) const WITHIN: Duration = Duration::from_millis(100);

/// Nine of ten subscriptions are faster: 85 ms in a debug build that shares two cores with Kafka and the attackers, and
/// more if others use these, too. Pings beside random reads take up to 55 ms. Without shares both take seconds.
pub(crate) const LATE: Duration = Duration::from_millis(400);
