//! 500 sockets, which use and abandon their sessions in different ways.

use std::future::pending;
use std::net::{Ipv4Addr, SocketAddr};
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sluicegate_stack::envoy::Profile;
use sluicegate_stack::kafka::{Kafka, Record, Write};
use sluicegate_stack::process::allow_many_files;
use sluicegate_stack::random::Random;
use sluicegate_stack::raw::{Raw, request};
use sluicegate_stack::socket::{Socket, fetch};
use sluicegate_stack::stack::{Setup, Stack};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::processes::{Limits, MIB, Processes, Watch, usages};
use crate::{Failure, say};

/// Fails if memory grows while the sockets are there, or if descriptors or threads remain of them.
#[tokio::main]
pub async fn soak(duration: Duration) -> Result<(), Failure> {
    allow_many_files()?;
    let kafka = Kafka::start().await?;
    let topic = kafka.topic("soak", 1, &[]).await?;
    // More than the bridge keeps in memory: `read.cache_bytes`.
    let records = vec![Record::of(vec![b'x'; VALUE]); RECORDS_AT_ONCE];
    for _ in 0..RECORDS.div_euclid(i64::try_from(RECORDS_AT_ONCE)?) {
        kafka.produce(&topic, 0, &records, Write::default()).await?;
    }
    let mut stack = Stack::start(Setup::new(Profile::Tunnel, kafka.bootstrap())).await?;
    stack.ready_within(Duration::from_secs(30)).await?;
    let stacks = slice::from_ref(&stack);
    let (before, mut processes) = (usages(stacks)?, Processes::default());

    let mut clients = Clients::start(&stack, &topic);
    let messages = Arc::clone(&clients.messages);
    let read = || format!("{:>10} messages read", messages.load(Ordering::Relaxed));
    let watch = Watch { duration, window: WINDOW, sample: SAMPLE };
    watch.run(&mut processes, stacks, read, async || clients.failed().await).await?;
    processes.check(WHILE_THERE)?;

    // Drops all sockets, without a close frame.
    clients.tasks.shutdown().await;
    let deadline = Instant::now() + LEFT_WITHIN;
    loop {
        let after = usages(stacks)?;
        let mut both = before.iter().zip(&after);
        match both.try_for_each(|((name, before), (_, after))| AFTERWARDS.check(name, before, after)) {
            Ok(()) => break say("all sockets have left, and no descriptor or thread remains of them"),
            Err(grown) if Instant::now() >= deadline => return Err(grown),
            Err(_) => sleep(SAMPLE).await,
        }
    }
    Ok(())
}

/// All clients. Each opens another socket when it has lost or left one.
struct Clients {
    tasks: JoinSet<Failure>,
    messages: Arc<AtomicU64>,
}

#[derive(Clone)]
struct Client {
    gateway: SocketAddr,
    url: String,
    topic: String,
    random: Random,
    messages: Arc<AtomicU64>,
}

impl Clients {
    fn start(stack: &Stack, topic: &str) -> Self {
        let messages = Arc::<AtomicU64>::default();
        let mut tasks = JoinSet::new();
        for number in 0..CLIENTS {
            let random = Random::new(number);
            let (topic, messages) = (topic.to_owned(), Arc::clone(&messages));
            let client = Client { gateway: stack.gateway(), url: stack.url(), topic, random, messages };
            match number % 10 {
                kind @ 0..5 => tasks.spawn(client.read(kind > 1)),
                5..=7 => tasks.spawn(client.idle()),
                8 => tasks.spawn(client.vanish()),
                _ => tasks.spawn(client.get_stuck()),
            };
        }
        Self { tasks, messages }
    }

    /// Why the first client to fail did: a client never ends.
    async fn failed(&mut self) -> Failure {
        match self.tasks.join_next().await {
            Some(Ok(failure)) => failure,
            Some(Err(panic)) => format!("a client failed: {panic}").into(),
            None => pending().await,
        }
    }
}

impl Client {
    /// Reads somewhere in the log, or from there to its end, again and again.
    async fn read(mut self, jumps: bool) -> Failure {
        let mut socket = Socket::open_at(&self.url).await;
        let mut next = self.offset();
        loop {
            let messages = match socket.fetch(&self.topic, 0, next).await {
                Ok(messages) => messages,
                Err(error) => return format!("a fetch at offset {next} failed: {error:?}").into(),
            };
            if messages.iter().zip(next..).any(|(message, offset)| message.offset != offset) {
                return format!("a fetch at offset {next} skipped records or repeated them").into();
            }
            self.messages.fetch_add(messages.len() as u64, Ordering::Relaxed);
            next = match messages.last() {
                Some(last) if !jumps => last.offset.saturating_add(1),
                Some(_) => self.offset(),
                None => 0,
            };
            self.pause(READ).await;
        }
    }

    /// Sends nothing, and answers pings.
    async fn idle(self) -> Failure {
        let ended = Socket::open_at(&self.url).await.listen().await;
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
const RECORDS: i64 = 100_000;
const CLIENTS: u64 = 500;
const READ: Duration = Duration::from_secs(2);
const VANISH: Duration = Duration::from_secs(1);
/// In the life of a stuck socket.
const STUCK: Duration = Duration::from_secs(20);
/// A stuck client's fetches, of 256 KiB each.
const FETCHES: i64 = 32;
/// Its receive buffer in bytes.
const NARROW: u32 = 32 * 1024;
/// Bytes.
const VALUE: usize = 1_000;
const RECORDS_AT_ONCE: usize = 10_000;
const WINDOW: Duration = Duration::from_secs(30);
const SAMPLE: Duration = Duration::from_secs(1);
const LEFT_WITHIN: Duration = Duration::from_secs(60);
const WHILE_THERE: Limits = Limits { percent: 10, bytes: 8 * MIB, descriptors: u64::MAX, threads: u64::MAX };
/// Connections to Kafka, and between Envoy and bridge, outlive the load. Idle threads of the bridge end after ten seconds, but
/// the look at its configuration each second wakes them in turns: ten can stay.
const AFTERWARDS: Limits = Limits { percent: 0, bytes: u64::MAX, descriptors: 16, threads: 10 };
