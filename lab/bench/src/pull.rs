//! async-nats clients that read a stream, each over a connection and through an ordered pull consumer of its own.
//!
//! They call JetStream's API themselves: async-nats' consumers add channels and timers to each message, and would be
//! slower.

use std::net::SocketAddr;
use std::time::Instant;

use async_nats::Message;
use futures_util::StreamExt;
use futures_util::future::try_join_all;
use serde_json::json;
use sluicegate_stack::nats::Streams;

use crate::report::Measured;
use crate::{Failure, Reading};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(long)]
    server: SocketAddr,
    #[command(flatten)]
    reading: Reading,
}

/// Prints a [`Measured`] line.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    // One thread: more would take CPU from the measured processes.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let start = Instant::now();
    let read = runtime.block_on(try_join_all((0..args.reading.clients).map(|_| read(args))))?;
    let seconds = start.elapsed().as_secs_f64();
    let (messages, bytes) = read.into_iter().fold((0, 0), |(a, b), (c, d)| (a + c, b + d));
    Measured { messages, bytes, seconds, latency: None }.print()
}

async fn read(args: &Args) -> Result<(u64, u64), Failure> {
    let Reading { topic: stream, end, rounds, .. } = &args.reading;
    let streams = Streams::connect(args.server).await?;
    let client = streams.client();
    let (mut messages, mut bytes) = (0, 0);
    for _ in 0..*rounds {
        let inbox = client.new_inbox();
        let mut deliveries = client.subscribe(inbox.clone()).await?;
        let consumer = inbox.replace('.', "-");
        let config = json!({
            "name": consumer, "deliver_policy": "all", "ack_policy": "none", "max_deliver": 1,
            "mem_storage": true, "num_replicas": 1, "inactive_threshold": 30_000_000_000_u64,
        });
        let request = json!({ "stream_name": stream, "config": config });
        streams.call(&format!("CONSUMER.CREATE.{stream}.{consumer}"), &request).await?;
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}");
        let request = json!({ "batch": BATCH, "expires": 30_000_000_000_u64 }).to_string();
        let ask = || client.publish_with_reply(subject.clone(), inbox.clone(), request.clone().into());
        // One request ahead: the server never waits for the client.
        ask().await?;
        let (mut next, mut left) = (1, 0);
        while next < *end {
            if left == 0 {
                ask().await?;
                left = BATCH;
            }
            let message = deliveries.next().await.ok_or("the connection ended")?;
            if sequence(&message) != Some(next) {
                return Err(format!("{message:?} where sequence {next} was expected").into());
            }
            (next, left) = (next + 1, left - 1);
            messages += 1;
            bytes += message.payload.len() as u64;
        }
        streams.call(&format!("CONSUMER.DELETE.{stream}.{consumer}"), &json!({})).await?;
    }
    Ok((messages, bytes))
}

/// From the subject for acknowledgements: `$JS.ACK.<stream>.<consumer>.<deliveries>.<sequence>.…`.
fn sequence(message: &Message) -> Option<i64> {
    message.reply.as_ref()?.split('.').nth(5)?.parse().ok()
}

/// Messages of a request. Larger batches are not faster.
const BATCH: u32 = 1_000;
