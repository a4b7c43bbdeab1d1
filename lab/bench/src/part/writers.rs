//! Clients that write: through the gateway, and bare producers with the bridge's settings.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use prost::Message as _;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{
    BaseRecord, FutureProducer, FutureRecord, Producer, ProducerContext, ThreadedProducer,
};
use rdkafka::{ClientConfig, ClientContext};
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{CmdKafkaProduce, ProduceRecord, Producer as Repeated, PubSubReq, PubSubResp};
use sluicegate_stack::http::client::{Client, Request};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use super::{Cpu, Measured, Took, Writing};
use crate::Failure;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Opens a session for [`produce`].
pub(crate) async fn session(url: &str) -> Result<Socket, Failure> {
    Ok(connect_async_with_config(url, None, true).await?.0)
}

/// Writes over a session, with several commands in flight.
pub(crate) async fn produce(writing: &Writing, mut socket: Socket, start: Instant) -> Result<Took, Failure> {
    let (command, id) = (command(writing), id());
    let (mut took, mut open, mut sequence) = (Took::new(), HashMap::new(), 0);
    loop {
        while open.len() < writing.in_flight && start.elapsed() < writing.time() {
            let begun = writing.repeatable.then(|| (id.clone(), sequence as u32 * writing.batch as u32));
            let req = begun.map(|(id, sequence)| {
                let producer = Some(Repeated { id, epoch: 0, sequence, age_ms: Some(0) });
                Req::CmdKafkaProduce(CmdKafkaProduce { producer, ..CmdKafkaProduce::default() })
            });
            sequence += 1;
            open.insert(sequence, Instant::now());
            // Protobuf merges messages that follow each other.
            let request = [PubSubReq { sequence, req }.encode_to_vec(), command.clone()].concat();
            socket.feed(Message::binary(request)).await?;
        }
        if open.is_empty() {
            break;
        }
        socket.flush().await?;
        let answer = socket.next().await.ok_or("the session ended")??;
        let sequence = acknowledged(answer, writing.batch)?;
        let sent = open.remove(&sequence).ok_or("an answer to no command")?;
        took.push(sent.elapsed());
    }
    socket.close(None).await?;
    Ok(took)
}

/// A name that no other producer has.
fn id() -> String {
    format!("{:032x}", fastrand::u128(..))
}

/// A command without its sequence, so that it is encoded once.
fn command(writing: &Writing) -> Vec<u8> {
    let value = Some(writing.value().into());
    let record = ProduceRecord { topic: writing.topic.clone(), value, ..ProduceRecord::default() };
    let command = CmdKafkaProduce { records: vec![record; writing.batch], ..CmdKafkaProduce::default() };
    PubSubReq { sequence: 0, req: Some(Req::CmdKafkaProduce(command)) }.encode_to_vec()
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

/// Writes by plain HTTP: one record per request, on a persistent connection.
pub(crate) async fn post(
    writing: &Writing,
    path: &str,
    mut client: Client,
    start: Instant,
) -> Result<Took, Failure> {
    let (request, id) = (Request::post(path, writing.value()), id());
    let mut took = Took::new();
    while start.elapsed() < writing.time() {
        let mut request = request.clone();
        if writing.repeatable {
            let sequence = took.len().to_string();
            request = request.with("producer-id", &id).with("producer-epoch", "0");
            request = request.with("producer-seq", sequence).with("producer-age", "0");
        }
        let sent = Instant::now();
        let answer = client.ask(request).await?;
        if answer.status != 200 {
            return Err(format!("a write is answered by {answer:?}").into());
        }
        took.push(sent.elapsed());
    }
    Ok(took)
}

/// Repeats a request of the bare producer as soon as it is acknowledged.
pub(crate) async fn again_and_again(
    producer: &FutureProducer,
    writing: &Writing,
    start: Instant,
) -> Result<Took, Failure> {
    let mut took = Took::new();
    while start.elapsed() < writing.time() {
        let sent = Instant::now();
        request(producer, writing, writing.batch).await?;
        took.push(sent.elapsed());
    }
    Ok(took)
}

/// Writes records, and waits until all are acknowledged.
pub(crate) async fn request(
    producer: &FutureProducer,
    writing: &Writing,
    records: usize,
) -> Result<(), Failure> {
    let value = writing.value();
    let send = |_| {
        let record = FutureRecord::<(), _>::to(&writing.topic).payload(&value);
        producer.send_result(record).map_err(|(error, _)| error)
    };
    for delivery in (0..records).map(send).collect::<KafkaResult<Vec<_>>>()? {
        delivery.await?.map_err(|(error, _)| error)?;
    }
    Ok(())
}

/// A librdkafka producer with a full queue.
pub(crate) fn stream(properties: &ClientConfig, writing: &Writing) -> Result<Measured, Failure> {
    let producer: ThreadedProducer<Count> = properties.create_with_context(Count::default())?;
    let value = writing.value();
    let send = || match producer.send(BaseRecord::<(), _>::to(&writing.topic).payload(&value)) {
        Ok(()) => Ok(()),
        Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
            thread::sleep(QUEUE_FULL);
            Ok(())
        }
        Err((error, _)) => Err(error),
    };
    // The first record fetches the producer id from the broker, which takes a while.
    send()?;
    producer.flush(PATIENCE)?;
    let start = Instant::now();
    while start.elapsed() < writing.time() {
        send()?;
    }
    producer.flush(PATIENCE)?;
    let seconds = start.elapsed().as_secs_f64();
    let Count { written, failed } = producer.context().as_ref();
    match failed.load(Ordering::Relaxed) {
        0 => {
            let messages = written.load(Ordering::Relaxed).saturating_sub(1);
            Ok(Measured { messages, seconds, latency: None, cpu: Cpu::default() })
        }
        failed => Err(format!("{failed} records were not written").into()),
    }
}

#[derive(Default)]
struct Count {
    written: AtomicU64,
    failed: AtomicU64,
}

impl ClientContext for Count {}

impl ProducerContext for Count {
    type DeliveryOpaque = ();

    fn delivery(&self, delivery: &DeliveryResult<'_>, (): ()) {
        let count = if delivery.is_ok() { &self.written } else { &self.failed };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

const QUEUE_FULL: Duration = Duration::from_millis(1);
/// A broker that acknowledges nothing ends the measurement after this.
const PATIENCE: Duration = Duration::from_secs(40);
