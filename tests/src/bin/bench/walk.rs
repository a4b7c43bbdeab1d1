//! Clients that walk a topic through the gateway, one fetch in flight each.

use std::time::Instant;

use bytes::Bytes;
use futures_util::future::try_join_all;
use futures_util::{SinkExt, StreamExt};
use prost::Message as _;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{CmdKafkaFetch, KafkaFetchResp, PubSubReq, PubSubResp};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use crate::report::{Measured, Took, percentiles};
use crate::{Failure, Reading};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(long)]
    url: String,
    #[command(flatten)]
    reading: Reading,
}

/// Prints a [`Measured`] line.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    // One thread: more would take CPU from the measured processes.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let start = Instant::now();
    let walks = runtime.block_on(try_join_all((0..args.reading.clients).map(|_| walk(args))))?;
    let seconds = start.elapsed().as_secs_f64();
    let mut total = Walked::default();
    for walk in walks {
        total.messages += walk.messages;
        total.bytes += walk.bytes;
        total.latencies.extend(walk.latencies);
    }
    let latency = Some(percentiles(&total.latencies));
    Measured { messages: total.messages, bytes: total.bytes, seconds, latency }.print()
}

#[derive(Default)]
struct Walked {
    messages: u64,
    bytes: u64,
    latencies: Took,
}

async fn walk(args: &Args) -> Result<Walked, Failure> {
    let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
    let (mut socket, _) = tokio_tungstenite::connect_async_with_config(&args.url, Some(config), true).await?;
    let mut walked = Walked::default();
    for _ in 0..args.reading.rounds {
        let mut offset = 0;
        while offset < args.reading.end {
            let asked = Instant::now();
            socket.send(Message::Binary(fetch(&args.reading.topic, offset))).await?;
            let answer = socket.next().await.ok_or("the session ended")??;
            walked.latencies.push(asked.elapsed());
            let messages = messages(answer)?.messages;
            for message in &messages {
                if message.offset != offset {
                    return Err(format!("offset {} where {offset} was expected", message.offset).into());
                }
                offset += 1;
                walked.bytes += message.value.as_ref().map_or(0, |value| value.len() as u64);
            }
            walked.messages += messages.len() as u64;
        }
    }
    socket.close(None).await?;
    Ok(walked)
}

fn fetch(topic: &str, offset: i64) -> Bytes {
    let fetch = CmdKafkaFetch { topic: topic.to_owned(), partition: 0, offset, ..Default::default() };
    PubSubReq { sequence: offset, req: Some(Req::CmdKafkaFetch(fetch)) }.encode_to_vec().into()
}

fn messages(answer: Message) -> Result<KafkaFetchResp, Failure> {
    match PubSubResp::decode(answer.into_data())?.resp {
        Some(Resp::KafkaFetchResp(fetched)) => Ok(fetched),
        other => Err(format!("a fetch was answered by {other:?}").into()),
    }
}
