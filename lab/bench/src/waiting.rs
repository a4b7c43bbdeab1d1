//! Measures reads that wait at the ends of partitions: the requests that Kafka gets, and when a new record arrives.

use std::time::Duration;

use futures_util::future::try_join_all;
use sluicegate_protocol::CmdKafkaFetch;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_stack::kafka::{Kafka, Record, Write};
use sluicegate_stack::process::allow_many_files;
use sluicegate_stack::socket::{Socket, messages};
use sluicegate_stack::stack::{Setup, Stack};
use sluicegate_stack::waiting::until;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::figures::Figures;
use crate::place::stack;
use crate::report::{percentiles, say};
use crate::{Failure, Plan};

pub(crate) async fn run(plan: &Plan, figures: &mut Figures) -> Result<(), Failure> {
    say(&format!("waiting   {WAITERS} reads at the ends of {PARTITIONS} partitions of one broker"));
    allow_many_files()?;
    let kafka = Kafka::start().await?;
    let topic = kafka.topic("waiting", PARTITIONS, &[]).await?;
    let stack = stack(plan, Setup::new(plan.profile, kafka.bootstrap())).await?;

    let (arrived, mut arrivals) = mpsc::unbounded_channel();
    // Ends before the stack does.
    let mut readers = JoinSet::new();
    for number in 0..WAITERS {
        let socket = Socket::open(&stack).await;
        readers.spawn(wait(socket, topic.clone(), number % PARTITIONS, arrived.clone()));
    }
    all_wait(&stack).await;

    let before = requests(&stack).await?;
    sleep(QUIET).await;
    let fetches = (requests(&stack).await? - before) / QUIET.as_secs_f64();

    let mut took = Vec::new();
    for sample in 0..SAMPLES {
        all_wait(&stack).await;
        let partition = sample % PARTITIONS;
        kafka.produce(&topic, partition, &[Record::of("new")], Write::default()).await?;
        let acknowledged = Instant::now();
        for _ in 0..WAITERS / PARTITIONS {
            let (of, at): (i32, Instant) = arrivals.recv().await.ok_or("a read failed")?;
            assert_eq!(of, partition, "only this partition has a record");
            took.push(at.saturating_duration_since(acknowledged));
        }
    }
    let (p50, p99) = percentiles(&took);
    figures.less("waiting: fetches of Kafka", "1/s", [fetches]);
    // From its acknowledgement to its readers.
    figures.less("waiting: p50 of a new record", "ms", [p50 * 1e3]);
    figures.less("waiting: p99 of a new record", "ms", [p99 * 1e3]);
    Ok(())
}

/// Reads a partition from its end on, and reports each record.
async fn wait(
    mut socket: Socket,
    topic: String,
    partition: i32,
    arrived: mpsc::UnboundedSender<(i32, Instant)>,
) {
    let mut offset = 0;
    loop {
        let max_wait_ms = Some(WAIT_MS);
        let fetch =
            CmdKafkaFetch { topic: topic.clone(), partition, offset, max_wait_ms, ..Default::default() };
        let Ok(read) = messages(socket.ask(Req::CmdKafkaFetch(fetch)).await) else { return };
        let Some(last) = read.last() else { continue };
        offset = last.offset.saturating_add(1);
        if arrived.send((partition, Instant::now())).is_err() {
            return;
        }
    }
}

async fn all_wait(stack: &Stack) {
    let waiting = async || match stack.bridge.count("sluicegate_tail_waiters", "").await? {
        count if count >= f64::from(WAITERS) * 0.9 => Ok(()),
        count => Err(format!("{count} reads wait")),
    };
    until("all reads wait", Duration::from_secs(60), waiting).await;
}

/// Fetches that Kafka has received.
async fn requests(stack: &Stack) -> Result<f64, Failure> {
    let counts = ["sluicegate_tail_requests_total", "sluicegate_read_cache_misses_total"];
    Ok(try_join_all(counts.map(|name| stack.bridge.count(name, ""))).await?.iter().sum())
}

const WAITERS: i32 = 1000;
const PARTITIONS: i32 = 100;
/// Records that are written, one after the other.
const SAMPLES: i32 = 200;
/// Wait of a read before it is repeated: as with `read.wait_ms`, for clients that know no other wait.
const WAIT_MS: u32 = 100;
const QUIET: Duration = Duration::from_secs(10);
