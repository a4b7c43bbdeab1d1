//! Clients that take the snapshot of a table through the gateway.

use std::time::Instant;

use futures_util::future::try_join_all;
use futures_util::{SinkExt, StreamExt};
use prost::Message as _;
use sluicegate_protocol::kafka_subscription_event::Event;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{CmdKafkaSubscribe, KafkaSource, PubSubReq, PubSubResp, Snapshot};
use tokio_tungstenite::tungstenite::Message;

use crate::report::Measured;
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
    let held = runtime.block_on(try_join_all((0..args.reading.clients).map(|_| hold(args))))?;
    let seconds = start.elapsed().as_secs_f64();
    let (messages, bytes) = held.into_iter().fold((0, 0), |(a, b), (c, d)| (a + c, b + d));
    Measured { messages, bytes, seconds, latency: None }.print()
}

/// The messages of the snapshot, and the bytes of their values.
async fn hold(args: &Args) -> Result<(u64, u64), Failure> {
    let (mut socket, _) = tokio_tungstenite::connect_async(&args.url).await?;
    let source = KafkaSource { topic: args.reading.topic.clone(), ..Default::default() };
    let snapshot = Snapshot::LatestPerKey.into();
    let command = CmdKafkaSubscribe { sources: vec![source], snapshot, ..Default::default() };
    let request = PubSubReq { sequence: 1, req: Some(Req::CmdKafkaSubscribe(command)) };
    socket.send(Message::binary(request.encode_to_vec())).await?;
    let (mut messages, mut bytes) = (0, 0);
    loop {
        let answer = socket.next().await.ok_or("the session ended")??;
        match PubSubResp::decode(answer.into_data())?.resp {
            Some(Resp::KafkaDeliveryResp(delivery)) => {
                messages += delivery.messages.len() as u64;
                let len = delivery
                    .messages
                    .iter()
                    .map(|message| message.value.as_ref().map_or(0, |value| value.len()));
                bytes += len.sum::<usize>() as u64;
            }
            Some(Resp::KafkaSubscriptionEvent(event)) => {
                if let Some(Event::SnapshotEnd(_)) = event.event {
                    break;
                }
            }
            Some(Resp::KafkaSubscribedResp(_)) => {}
            other => return Err(format!("a table was answered by {other:?}").into()),
        }
    }
    socket.close(None).await?;
    match i64::try_from(messages) {
        Ok(count) if count == args.reading.end => Ok((messages, bytes)),
        _ => Err(format!("{messages} of {} keys", args.reading.end).into()),
    }
}
