//! Measures single commands: many at a time, and the latency of a small fetch on an idle stack.

use std::time::Duration;

use futures_util::future::join_all;
use sluicegate_protocol::CmdKafkaFetch;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_stack::kafka::Record;
use sluicegate_stack::process::Process;
use sluicegate_stack::random::Random;
use sluicegate_stack::socket::{Socket, messages};
use sluicegate_stack::stack::{Setup, Stack};
use tokio::time::Instant;

use crate::figures::{Better, Figures};
use crate::place::{Meter, fill, quick_kafka, stack, with_broker};
use crate::report::{percentiles, say};
use crate::{Failure, Plan};

pub(crate) async fn run(plan: &Plan, figures: &mut Figures) -> Result<(), Failure> {
    say(&format!("commands  {SOCKETS} sockets, one command at a time each"));
    let kafka = quick_kafka().await?;
    let topic = kafka.topic("commands", 1, &[]).await?;
    fill(&kafka, &topic, RECORDS, |_| Record::of("x".repeat(100))).await?;
    let stack = stack(plan, Setup::new(plan.profile, kafka.bootstrap())).await?;

    let processes = with_broker(&stack, &kafka)?;
    let measure = async |time, topic| measure(&stack, processes, time, topic).await;
    let time = Duration::from_secs(plan.seconds.into());
    // Java's JIT compilers are busy in the first seconds.
    measure(time, Some(&*topic)).await?;
    let pings = measure(time, None).await?;
    let ends = measure(time, Some(&*topic)).await?;
    say(&format!("pings, which Kafka does not see: {pings}"));
    say(&format!("questions for the end of one partition: {ends}"));
    let ratio = ends.per_second / pings.per_second;
    say(&format!("ratio: {ratio:.2}"));
    figures.add("ends of a partition, to pings: ratio", "×", Better::More, [ratio]);
    for (name, measured) in [("pings", &pings), ("ends of a partition", &ends)] {
        let [envoy, bridge, _] = measured.cpu;
        figures.add(name, "k/s", Better::More, [measured.per_second / 1e3]);
        figures.add(&format!("{name}: CPU of Envoy and bridge"), "µs", Better::Less, [envoy + bridge]);
    }

    let mut socket = Socket::open(&stack).await;
    let (mut random, mut took) = (Random::new(1), Vec::new());
    let until = Instant::now() + time;
    while Instant::now() < until {
        let offset = i64::try_from(random.below(RECORDS))?;
        let fetch = CmdKafkaFetch { topic: topic.clone(), offset, max_records: 1, ..Default::default() };
        let asked = Instant::now();
        let read = messages(socket.ask(Req::CmdKafkaFetch(fetch)).await);
        took.push(asked.elapsed());
        assert!(read.is_ok_and(|read| read.len() == 1 && read.iter().all(|read| read.offset == offset)));
    }
    let (p50, p99) = percentiles(&took);
    say(&format!(
        "one socket fetches single records of {RECORDS} at random: p50 {:.2} ms, p99 {:.2} ms",
        p50 * 1000.0,
        p99 * 1000.0
    ));
    figures.add("fetch of one record: p50", "ms", Better::Less, [p50 * 1e3]);
    Ok(())
}

struct Measured {
    per_second: f64,
    took: (f64, f64),
    /// Of each command in microseconds.
    cpu: [f64; 3],
}

impl std::fmt::Display for Measured {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { per_second, took: (p50, p99), cpu: [envoy, bridge, kafka] } = self;
        write!(out, "{:.1} k/s, p50 {:.2} ms, p99 {:.2} ms; ", per_second / 1e3, p50 * 1e3, p99 * 1e3)?;
        write!(out, "CPU of each in us: Envoy {envoy:.1}, bridge {bridge:.1}, Kafka {kafka:.1}")
    }
}

/// Repeats a command over all sockets: a ping, or a question for the end of this topic's only partition.
async fn measure(
    stack: &Stack,
    processes: [&Process; 3],
    time: Duration,
    topic: Option<&str>,
) -> Result<Measured, Failure> {
    let sockets = join_all((0..SOCKETS).map(|_| Socket::open(stack))).await;
    let (meter, begun) = (Meter::start(processes)?, Instant::now());
    let repeat = async |mut socket: Socket| {
        let mut took = Vec::new();
        while begun.elapsed() < time {
            let asked = Instant::now();
            match topic {
                None => socket.ping().await,
                Some(topic) => {
                    let end = socket.list_offset(topic, 0, -1).await;
                    assert_eq!(end, Ok(i64::try_from(RECORDS).unwrap_or(-1)));
                }
            }
            took.push(asked.elapsed());
        }
        took
    };
    let took: Vec<Duration> = join_all(sockets.into_iter().map(repeat)).await.into_iter().flatten().collect();
    let (seconds, count) = (begun.elapsed().as_secs_f64(), took.len() as f64);
    let cpu = meter.seconds()?.map(|cpu| cpu * 1e6 / count);
    Ok(Measured { per_second: count / seconds, took: percentiles(&took), cpu })
}

const SOCKETS: usize = 64;
const RECORDS: usize = 100_000;
