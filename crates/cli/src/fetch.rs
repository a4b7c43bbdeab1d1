//! `fetch`: a partition's messages, from an offset on.

use std::time::{Duration, Instant};

use bytes::Bytes;
use indicatif::BinaryBytes;
use sluicegate_client::{At, Client, Error, KafkaMessage, Walk};
use tokio::time::sleep;

use crate::args::{Fetch, Gateway};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::json;
use crate::progress::Progress;
use crate::stderr::{printable, say};
use crate::stdout::Stdout;
use crate::template::Template;

pub(crate) async fn run(
    args: &Fetch,
    gateway: &Gateway,
    client: &Client,
    stdout: &mut Stdout,
    interrupt: &mut Interrupt,
) -> Result<(), Failure> {
    let quiet = gateway.quiet;
    let mut tally = Tally { messages: 0, bytes: 0, next: None };
    let start = Instant::now();
    let outcome = interrupt.unless(pour(args, gateway, client, stdout, &mut tally)).await;
    let (topic, partition) = (&args.topic, args.partition);
    match &outcome {
        Ok(End::Log(offset)) if !quiet => {
            say(format_args!("% Reached end of {topic} [{partition}] at offset {offset}: exiting"));
        }
        Err(Failure::Interrupted) if !quiet => say(tally.summary(start.elapsed())),
        _ => {}
    }
    outcome.map(drop)
}

/// Why a read was over.
enum End {
    Count,
    /// The log end, at this offset.
    Log(i64),
}

/// What has been written to standard output.
struct Tally {
    messages: u64,
    /// Of keys and values.
    bytes: u64,
    /// One behind the last message.
    next: Option<i64>,
}

async fn pour(
    args: &Fetch,
    gateway: &Gateway,
    client: &Client,
    stdout: &mut Stdout,
    tally: &mut Tally,
) -> Result<End, Failure> {
    let end = client.list_offset(&args.topic, args.partition, At::Latest).await?;
    let end = end.ok_or_else(|| Error::Protocol { detail: "it knows no log end".into() })?;
    let from = args.from.resolve(client, &args.topic, args.partition, end).await?;
    let mut walk = client.walk(&args.topic, args.partition, from);
    let mut progress = Progress::new(total(args, from, end), gateway.quiet);
    let printer = Printer::new(args);
    let mut moved = Instant::now();
    loop {
        let before = walk.position();
        let mut batch = next_batch(&mut walk, args.follow, &progress).await?;
        let left = args.count.map_or(u64::MAX, |count| count.saturating_sub(tally.messages));
        batch.truncate(usize::try_from(left).unwrap_or(usize::MAX));

        stdout.write(&printer.print(args, &batch)).await?;
        tally.add(&batch);
        let done = if args.count.is_some() { tally.messages } else { distance(from, walk.position()) };
        progress.at(done, BinaryBytes(tally.bytes));

        if args.count == Some(tally.messages) {
            return Ok(End::Count);
        }
        if walk.position() > before {
            moved = Instant::now();
        }
        if args.follow {
            continue;
        }
        if walk.position() >= end {
            return Ok(End::Log(walk.position()));
        }
        // Kafka may be electing a leader, or the server is one that does not say where offsets without messages end.
        if moved.elapsed() >= gateway.timeout {
            return Err(Failure::BelowEnd { at: walk.position(), end, within: gateway.timeout });
        }
    }
}

/// The next batch; with `--follow`, whatever Kafka is going through meanwhile.
async fn next_batch(
    walk: &mut Walk<'_>,
    follow: bool,
    progress: &Progress,
) -> Result<Vec<KafkaMessage>, Failure> {
    loop {
        match walk.next_batch().await {
            Err(Error::Command { message, retriable: true, .. }) if follow => {
                progress.suspend(|| say(format_args!("% {}; trying again", printable(&message))));
                sleep(RETRY).await;
            }
            outcome => return Ok(outcome?),
        }
    }
}

impl Tally {
    fn add(&mut self, batch: &[KafkaMessage]) {
        for message in batch {
            let len = |field: &Option<Bytes>| field.as_ref().map_or(0, Bytes::len);
            let bytes = len(&message.key).saturating_add(len(&message.value));
            self.messages = self.messages.saturating_add(1);
            self.bytes = self.bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
            self.next = Some(message.offset.saturating_add(1));
        }
    }

    fn summary(&self, elapsed: Duration) -> String {
        let Self { messages, bytes, next } = self;
        let seconds = elapsed.as_secs_f64();
        let go_on = next.map(|next| format!("; go on with --from {next}")).unwrap_or_default();
        format!("% {messages} messages, {bytes} bytes in {seconds:.1} s{go_on}")
    }
}

/// How messages are written.
enum Printer {
    Json,
    Template(Template),
}

impl Printer {
    fn new(args: &Fetch) -> Self {
        if args.json {
            return Self::Json;
        }
        let delimited = || Template::delimited(args.key_delimiter.as_deref(), &args.delimiter);
        let template = args.format.clone().unwrap_or_else(delimited);
        Self::Template(if args.null { template.with_null() } else { template })
    }

    /// One answer's messages, and so at most a few times as long as the longest answer that the client accepts.
    fn print(&self, args: &Fetch, batch: &[KafkaMessage]) -> Vec<u8> {
        let mut out = Vec::new();
        for message in batch {
            match self {
                Self::Json => json::message(&args.topic, args.partition, message, &mut out),
                Self::Template(template) => template.render(&args.topic, args.partition, message, &mut out),
            }
        }
        out
    }
}

/// Messages or offsets to go through, where the read has an end.
fn total(args: &Fetch, from: i64, end: i64) -> Option<u64> {
    match args.count {
        Some(count) => Some(count),
        None if args.follow => None,
        None => Some(distance(from, end)),
    }
}

fn distance(from: i64, to: i64) -> u64 {
    u64::try_from(to.saturating_sub(from)).unwrap_or(0)
}

/// Between a retriable error and the next attempt.
const RETRY: Duration = Duration::from_secs(1);
