//! Clients that walk a topic or a stream through the gateway, one fetch in flight each.

use std::time::Instant;

use bytes::Bytes;
use clap::ValueEnum;
use futures_util::future::try_join_all;
use futures_util::{SinkExt, StreamExt};
use prost::Message as _;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{CmdKafkaFetch, CmdNatsFetch, PubSubReq, PubSubResp};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use crate::report::{Measured, Took, percentiles};
use crate::{Failure, Reading};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(long)]
    url: String,
    #[arg(long, value_enum)]
    system: System,
    #[command(flatten)]
    reading: Reading,
}

/// The messaging system behind the gateway.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum System {
    Kafka,
    Nats,
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
        let mut offset = args.system.first();
        while offset < args.reading.end {
            let asked = Instant::now();
            socket.send(Message::Binary(args.system.fetch(&args.reading.topic, offset))).await?;
            let answer = socket.next().await.ok_or("the session ended")??;
            walked.latencies.push(asked.elapsed());
            for (found, len) in messages(answer)? {
                if found != offset {
                    return Err(format!("offset {found} where {offset} was expected").into());
                }
                offset += 1;
                walked.messages += 1;
                walked.bytes += len as u64;
            }
        }
    }
    socket.close(None).await?;
    Ok(walked)
}

impl System {
    /// The offset or sequence of the first message.
    fn first(self) -> i64 {
        match self {
            Self::Kafka => 0,
            Self::Nats => 1,
        }
    }

    fn fetch(self, log: &str, offset: i64) -> Bytes {
        let log = log.to_owned();
        let req = match self {
            Self::Kafka => {
                Req::CmdKafkaFetch(CmdKafkaFetch { topic: log, partition: 0, offset, ..Default::default() })
            }
            Self::Nats => {
                Req::CmdNatsFetch(CmdNatsFetch { stream: log, sequence: offset, ..Default::default() })
            }
        };
        PubSubReq { sequence: offset, req: Some(req) }.encode_to_vec().into()
    }
}

/// The offset of each message, and the length of its value.
fn messages(answer: Message) -> Result<Vec<(i64, usize)>, Failure> {
    match PubSubResp::decode(answer.into_data())?.resp {
        Some(Resp::KafkaFetchResp(fetched)) => {
            let len = |value: Option<Bytes>| value.map_or(0, |value| value.len());
            Ok(fetched.messages.into_iter().map(|message| (message.offset, len(message.value))).collect())
        }
        Some(Resp::NatsFetchResp(fetched)) => {
            Ok(fetched.messages.into_iter().map(|message| (message.sequence, message.data.len())).collect())
        }
        other => Err(format!("a fetch was answered by {other:?}").into()),
    }
}
