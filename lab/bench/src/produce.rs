//! Clients that write through the gateway over sessions, several commands in flight each.

use std::collections::HashMap;
use std::time::Instant;

use bytes::Bytes;
use futures_util::future::try_join_all;
use futures_util::{SinkExt, StreamExt};
use prost::Message as _;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{CmdKafkaProduce, ProduceRecord, PubSubReq, PubSubResp};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use crate::report::{Measured, Took};
use crate::{Failure, Requests, Writing};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(long)]
    url: String,
    #[command(flatten)]
    writing: Writing,
    #[command(flatten)]
    requests: Requests,
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Prints a [`Measured`] line.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    // One thread: more would take CPU from the measured processes.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (took, seconds) = runtime.block_on(async {
        let open = (0..args.writing.clients).map(|_| connect_async_with_config(&args.url, None, true));
        let sockets = try_join_all(open).await?;
        let start = Instant::now();
        let took = try_join_all(sockets.into_iter().map(|(socket, _)| write(args, socket, start))).await?;
        Ok::<_, Failure>((took.concat(), start.elapsed().as_secs_f64()))
    })?;
    Measured::of_requests(&took, args.requests.batch, args.writing.size, seconds).print()
}

async fn write(args: &Args, mut socket: Socket, start: Instant) -> Result<Took, Failure> {
    let command = command(args);
    let (mut took, mut open, mut sequence) = (Took::new(), HashMap::new(), 0);
    loop {
        while open.len() < args.requests.in_flight && start.elapsed() < args.writing.time() {
            sequence += 1;
            open.insert(sequence, Instant::now());
            socket.feed(Message::Binary(request(sequence, &command))).await?;
        }
        if open.is_empty() {
            break;
        }
        socket.flush().await?;
        let answer = socket.next().await.ok_or("the session ended")??;
        let sequence = acknowledged(answer, args.requests.batch)?;
        let sent = open.remove(&sequence).ok_or("an answer to no command")?;
        took.push(sent.elapsed());
    }
    socket.close(None).await?;
    Ok(took)
}

/// A command without its sequence, so that it is encoded once.
fn command(args: &Args) -> Vec<u8> {
    let topic = args.writing.topic.clone();
    let record =
        ProduceRecord { topic, value: Some(args.writing.value().into()), ..ProduceRecord::default() };
    let command = CmdKafkaProduce { records: vec![record; args.requests.batch] };
    PubSubReq { sequence: 0, req: Some(Req::CmdKafkaProduce(command)) }.encode_to_vec()
}

/// Protobuf merges messages that follow each other.
fn request(sequence: i64, command: &[u8]) -> Bytes {
    let mut request = PubSubReq { sequence, req: None }.encode_to_vec();
    request.extend_from_slice(command);
    request.into()
}

/// The sequence of an answer that acknowledges all of its `records`.
fn acknowledged(answer: Message, records: usize) -> Result<i64, Failure> {
    let PubSubResp { sequence, resp } = PubSubResp::decode(answer.into_data())?;
    match resp {
        Some(Resp::KafkaProduceResp(answer)) if answer.results.len() == records => {
            match answer.results.into_iter().find_map(|produced| produced.error) {
                None => Ok(sequence),
                Some(error) => Err(format!("a record was not written: {}", error.message).into()),
            }
        }
        other => Err(format!("a command was answered by {other:?}").into()),
    }
}
