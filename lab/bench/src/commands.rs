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

use crate::figures::Figures;
use crate::part::{Cpu, Measured};
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
    // Kafka does not see pings.
    figures.add_part("pings", &pings);
    figures.add_part("ends of a partition", &ends);
    figures.add_ratio("ends of a partition, to pings", &ends, &pings);

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
    figures.less("fetch of one record: p50", "ms", [p50 * 1e3]);
    figures.less("fetch of one record: p99", "ms", [p99 * 1e3]);
    Ok(())
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
    let seconds = begun.elapsed().as_secs_f64();
    let ([envoy, bridge, system], latency) = (meter.seconds()?, Some(percentiles(&took)));
    let cpu = Cpu { envoy, bridge, system, ..Cpu::default() };
    Ok(Measured { messages: took.len() as u64, seconds, latency, cpu })
}

const SOCKETS: usize = 64;
const RECORDS: usize = 100_000;
