//! Behaviour of the sockets.

use std::future::pending;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sluicegate_protocol::KafkaMessage;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_stack::random::Random;
use sluicegate_stack::raw::{Raw, request};
use sluicegate_stack::socket::{Socket, fetch};
use sluicegate_stack::stack::Stack;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::Failure;

/// All clients. Each opens another socket when it has lost or left one.
pub(crate) struct Clients {
    tasks: JoinSet<Failure>,
    messages: Arc<AtomicU64>,
}

#[derive(Clone)]
struct Client {
    gateway: SocketAddr,
    topic: String,
    random: Random,
    messages: Arc<AtomicU64>,
}

impl Clients {
    pub(crate) fn start(stack: &Stack, topic: &str) -> Self {
        let messages = Arc::<AtomicU64>::default();
        let mut tasks = JoinSet::new();
        for number in 0..CLIENTS {
            let random = Random::new(number);
            let (topic, messages) = (topic.to_owned(), Arc::clone(&messages));
            let client = Client { gateway: stack.gateway(), topic, random, messages };
            match number % 10 {
                0 | 1 => tasks.spawn(client.walk()),
                2..=4 => tasks.spawn(client.jump()),
                5..=7 => tasks.spawn(client.idle()),
                8 => tasks.spawn(client.vanish()),
                _ => tasks.spawn(client.get_stuck()),
            };
        }
        Self { tasks, messages }
    }

    /// Messages that clients have read.
    pub(crate) fn messages(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }

    /// Why the first client to fail did: a client never ends.
    pub(crate) async fn failed(&mut self) -> Failure {
        match self.tasks.join_next().await {
            Some(Ok(failure)) => failure,
            Some(Err(panic)) => format!("a client failed: {panic}").into(),
            None => pending().await,
        }
    }

    /// Drops all sockets, without a close frame.
    pub(crate) async fn leave(mut self) {
        self.tasks.shutdown().await;
    }
}

impl Client {
    /// Reads the log from some record to its end, again and again.
    async fn walk(mut self) -> Failure {
        let mut socket = self.open().await;
        let mut next = self.offset();
        loop {
            match self.read(&mut socket, next).await {
                Ok(messages) => {
                    if messages.iter().zip(next..).any(|(message, offset)| message.offset != offset) {
                        return format!("a walk at offset {next} skipped records or repeated them").into();
                    }
                    next = messages.last().map_or(0, |last| last.offset.saturating_add(1));
                }
                Err(failure) => return failure,
            }
            self.pause(WALK).await;
        }
    }

    /// Reads somewhere in the log.
    async fn jump(mut self) -> Failure {
        let mut socket = self.open().await;
        loop {
            let offset = self.offset();
            if let Err(failure) = self.read(&mut socket, offset).await {
                return failure;
            }
            self.pause(JUMP).await;
        }
    }

    /// Sends nothing, and answers pings.
    async fn idle(self) -> Failure {
        let ended = self.open().await.listen().await;
        format!("the session of an idle client ended with {ended:?}").into()
    }

    /// Leaves with a command in flight or not, by a reset or the end of the connection, and never with a close frame.
    async fn vanish(mut self) -> Failure {
        loop {
            let mut raw = Raw::open(self.gateway).await;
            let fetch = self.fetch(1);
            match self.random.below(3) {
                0 => raw.ask_and_reset(&fetch).await,
                1 => raw.write(&fetch).await,
                _ => {
                    raw.write(&fetch).await;
                    raw.answer().await;
                }
            }
            self.pause(VANISH).await;
        }
    }

    /// Asks for more than fits in all buffers and reads nothing, until it leaves.
    async fn get_stuck(mut self) -> Failure {
        loop {
            let mut raw = Raw::open_narrow(self.gateway, Ipv4Addr::LOCALHOST, NARROW).await;
            for sequence in 0..FETCHES {
                raw.write(self.fetch(sequence)).await;
            }
            self.pause(STUCK).await;
        }
    }

    async fn open(&self) -> Socket {
        Socket::open_at(&format!("ws://{}/pubsub", self.gateway)).await
    }

    async fn read(&self, socket: &mut Socket, offset: i64) -> Result<Vec<KafkaMessage>, Failure> {
        match socket.ask(fetch(&self.topic, 0, offset)).await {
            Resp::KafkaFetchResp(answer) => {
                let count = u64::try_from(answer.messages.len())?;
                self.messages.fetch_add(count, Ordering::Relaxed);
                Ok(answer.messages)
            }
            other => Err(format!("a fetch at offset {offset} was answered by {other:?}").into()),
        }
    }

    /// A request somewhere in the log.
    fn fetch(&mut self, sequence: i64) -> Vec<u8> {
        let offset = self.offset();
        request(sequence, fetch(&self.topic, 0, offset))
    }

    /// Any offset that has a record.
    fn offset(&mut self) -> i64 {
        i64::try_from(self.random.next() >> 1).unwrap_or_default() % RECORDS
    }

    /// Half of `time` to one and a half of it.
    async fn pause(&mut self, time: Duration) {
        let percent = u32::try_from(self.random.below(100)).unwrap_or_default() + 50;
        sleep(time * percent / 100).await;
    }
}

/// Records in the log, 100 MB of them.
pub(crate) const RECORDS: i64 = 100_000;
const CLIENTS: u64 = 500;
/// Between two fetches.
const WALK: Duration = Duration::from_secs(2);
const JUMP: Duration = Duration::from_secs(2);
/// Between two sockets.
const VANISH: Duration = Duration::from_secs(1);
/// In the life of a stuck socket.
const STUCK: Duration = Duration::from_secs(20);
/// A stuck client's fetches, of 256 KiB each.
const FETCHES: i64 = 32;
/// Its receive buffer in bytes.
const NARROW: u32 = 32 * 1024;
