//! A process full of clients. Each opens a socket, subscribes if it is to, and comes back whenever the socket ends.
//! For each line of its input it prints a line of what it has [`Seen`].

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::{SinkExt, StreamExt};
use prost::Message as _;
use serde::{Deserialize, Serialize};
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{
    CmdKafkaSubscribe, KafkaDeliveryResp, KafkaSource, PubSubReq, PubSubResp, kafka_source,
};
use sluicegate_stack::process::allow_many_files;
use tokio::io::{AsyncBufReadExt, BufReader, stdin};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::sleep;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::seen::Seen;
use crate::Failure;
use crate::report::say;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Task {
    pub(super) gateway: SocketAddr,
    /// The number of this process: its clients have the addresses `127.1.NUMBER.*`.
    pub(super) number: u8,
    pub(super) sockets: u32,
    /// Every second client subscribes to one of them.
    pub(super) topics: Vec<String>,
}

struct Crowd {
    task: Task,
    seen: Mutex<Seen>,
    /// First connections, so that they do not overrun the gateway's backlog.
    opening: Semaphore,
}

pub(crate) fn run(json: &str) -> Result<(), Failure> {
    let task: Task = serde_json::from_str(json)?;
    allow_many_files()?;
    // One thread: more would take CPU from the measured processes.
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let sockets = task.sockets;
        let crowd = Arc::new(Crowd { task, seen: Mutex::default(), opening: Semaphore::new(AT_ONCE) });
        for number in 0..sockets {
            tokio::spawn(stay(Arc::clone(&crowd), number));
        }
        let mut lines = BufReader::new(stdin()).lines();
        while lines.next_line().await?.is_some() {
            say(&serde_json::to_string(&crowd.seen.lock().await.take())?);
        }
        Ok(())
    })
}

/// Keeps a socket open. After an end it waits as the browser client does: up to a second, and twice that after each
/// failure, up to 30 s.
async fn stay(crowd: Arc<Crowd>, number: u32) {
    let mut topics = crowd.task.topics.iter().cycle();
    let topic = if number % 2 == 1 { topics.nth(number as usize / 2).cloned() } else { None };
    let mut client = Client { crowd, number, topic, next: None };
    let mut wait = 1.0_f64;
    loop {
        if client.visit().await {
            wait = 1.0;
        }
        client.crowd.seen.lock().await.failed += 1;
        sleep(Duration::from_secs_f64(wait * fastrand::f64())).await;
        wait = (wait * 2.0).min(30.0);
    }
}

struct Client {
    crowd: Arc<Crowd>,
    number: u32,
    topic: Option<String>,
    /// The offset to go on from.
    next: Option<i64>,
}

impl Client {
    /// Opens a socket and reads until it ends. Whether it was open.
    async fn visit(&mut self) -> bool {
        let crowd = Arc::clone(&self.crowd);
        let opening = crowd.opening.acquire().await;
        let Ok(mut socket) = self.open().await else { return false };
        drop(opening);
        self.crowd.seen.lock().await.open += 1;
        while let Some(Ok(message)) = socket.next().await {
            if !message.is_binary() {
                continue;
            }
            match PubSubResp::decode(message.into_data()).map(|answer| answer.resp) {
                Ok(Some(Resp::KafkaDeliveryResp(delivery))) => self.deliver(&delivery).await,
                Ok(Some(Resp::KafkaSubscriptionEvent(_))) => {}
                _ => break,
            }
        }
        self.crowd.seen.lock().await.open -= 1;
        true
    }

    async fn open(&mut self) -> Result<WebSocketStream<TcpStream>, Failure> {
        let [_, third] = u16::try_from(self.number / FROM_ONE_ADDRESS)?.to_be_bytes();
        let tcp = TcpSocket::new_v4()?;
        tcp.bind((Ipv4Addr::new(127, 1, self.crowd.task.number, third.saturating_add(1)), 0).into())?;
        let gateway = self.crowd.task.gateway;
        let tcp = tcp.connect(gateway).await?;
        let config = WebSocketConfig::default().read_buffer_size(1024).write_buffer_size(0);
        let (mut socket, _) =
            client_async_with_config(format!("ws://{gateway}/pubsub"), tcp, Some(config)).await?;
        let Some(topic) = self.topic.clone() else { return Ok(socket) };
        let from = self.next.map(kafka_source::From::Offset);
        let command = CmdKafkaSubscribe {
            sources: vec![KafkaSource { topic, from, ..Default::default() }],
            ..Default::default()
        };
        let request = PubSubReq { sequence: 1, req: Some(Req::CmdKafkaSubscribe(command)) };
        socket.send(Message::binary(request.encode_to_vec())).await?;
        let answer = socket.next().await.ok_or("the session ended")??;
        match PubSubResp::decode(answer.into_data())?.resp {
            Some(Resp::KafkaSubscribedResp(subscribed)) => {
                let begin = subscribed.topics.first().and_then(|topic| topic.partitions.first());
                self.next = self.next.or(begin.map(|partition| partition.offset));
                Ok(socket)
            }
            other => Err(format!("a subscription was answered by {other:?}").into()),
        }
    }

    async fn deliver(&mut self, delivery: &KafkaDeliveryResp) {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let mut seen = self.crowd.seen.lock().await;
        for message in &delivery.messages {
            let expected = self.next.unwrap_or(message.offset);
            seen.lost += u64::try_from(message.offset - expected).unwrap_or(0);
            seen.repeated += u64::from(message.offset < expected);
            self.next = Some(message.offset + 1);
            // Kafka's, from when it wrote the record.
            let written = Duration::from_millis(u64::try_from(message.timestamp).unwrap_or_default());
            seen.deliver(now.saturating_sub(written));
        }
    }
}

/// Connections that a process opens at the same time.
const AT_ONCE: usize = 100;
/// Fewer than an address may have.
const FROM_ONE_ADDRESS: u32 = 100;
