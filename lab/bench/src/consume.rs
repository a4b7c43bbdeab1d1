//! librdkafka consumers that read a topic from the broker, each on a thread of its own.

use std::thread;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message as _;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::report::Measured;
use crate::{Failure, Reading};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(long)]
    bootstrap: String,
    #[command(flatten)]
    reading: Reading,
}

/// Prints a [`Measured`] line.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let start = Instant::now();
    let consumed: Result<Vec<(u64, u64)>, Failure> = thread::scope(|scope| {
        let threads: Vec<_> = (0..args.reading.clients).map(|_| scope.spawn(|| consume(args))).collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| "a consumer's thread ended")?).collect()
    });
    let seconds = start.elapsed().as_secs_f64();
    let (messages, bytes) = consumed?.into_iter().fold((0, 0), |(a, b), (c, d)| (a + c, b + d));
    Measured { messages, bytes, seconds, latency: None }.print()
}

fn consume(args: &Args) -> Result<(u64, u64), Failure> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &args.bootstrap)
        // `assign` needs a group; nothing is committed.
        .set("group.id", "bench")
        .set("enable.auto.commit", "false")
        // By default, a consumer whose queue was full pauses for 1 s.
        .set("fetch.queue.backoff.ms", "5")
        .create()?;
    let (mut messages, mut bytes) = (0, 0);
    for _ in 0..args.reading.rounds {
        let mut from = TopicPartitionList::new();
        from.add_partition_offset(&args.reading.topic, 0, Offset::Offset(0))?;
        consumer.assign(&from)?;
        let mut offset = 0;
        while offset < args.reading.end {
            let message = consumer.poll(PATIENCE).ok_or("no message came")??;
            offset = message.offset() + 1;
            messages += 1;
            bytes += message.payload_len() as u64;
        }
    }
    Ok((messages, bytes))
}

/// A silent broker ends the measurement after this.
const PATIENCE: Duration = Duration::from_secs(20);
