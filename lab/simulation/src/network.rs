//! A simulated network between a bridge and brokers: bytes arrive late and in parts, connections are refused, hang, and
//! break at any byte.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use sluicegate_reader::{Network, Stream};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, copy, duplex, split};
use tokio::task::JoinSet;
use tokio::time::{advance, sleep};

use crate::kafka::Kafka;
use crate::kafka::answer::{answer, broker_of};

/// The network of one bridge. Dropping it closes all connections.
#[derive(Debug)]
pub(crate) struct SimulatedNetwork {
    kafka: Kafka,
    faults: Arc<Faults>,
    connections: Mutex<JoinSet<()>>,
}

/// The faults of network and clock, which the schedule changes.
#[derive(Debug)]
pub(crate) struct Faults {
    random: Mutex<fastrand::Rng>,
    pub(crate) state: Mutex<FaultState>,
    /// The length of the clock's next jump.
    jump: Mutex<Option<Duration>>,
    /// By how much the clock has jumped.
    jumped: Mutex<Duration>,
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct FaultState {
    /// The longest delay of a part of an answer.
    pub(crate) delay: Duration,
    /// One of so many answers breaks its connection, at any byte; 0: none.
    pub(crate) breaks: u32,
    /// One of so many answers never comes, and none after it on its connection; 0: none.
    pub(crate) silences: u32,
    /// One of so many connections is refused; 0: none.
    pub(crate) refuses: u32,
}

impl Faults {
    pub(crate) fn new(random: fastrand::Rng) -> Arc<Self> {
        let (state, jump, jumped) = <(Mutex<_>, Mutex<_>, Mutex<_>)>::default();
        Arc::new(Self { random: Mutex::new(random), state, jump, jumped })
    }

    /// Whether it is the turn of one of so many; never if that is 0.
    pub(crate) fn one_of(&self, many: u32) -> bool {
        many > 0 && self.random.lock().u32(..many) == 0
    }

    pub(crate) async fn delay(&self) {
        let micros = u64::try_from(self.state.lock().delay.as_micros()).unwrap_or(u64::MAX);
        let micros = self.random.lock().u64(..=micros);
        sleep(Duration::from_micros(micros)).await;
    }
}

/// The clock, which jumps as it does for a process that stood still: what was due in the meantime is due at once.
impl Faults {
    /// Lets the clock jump when the next answer has arrived; `None`: it does not jump any more.
    pub(crate) fn arm_clock(&self, by: Option<Duration>) {
        *self.jump.lock() = by;
    }

    /// Performs a jump for which the time has come.
    pub(crate) async fn jump_if_armed(&self) {
        let Some(by) = self.jump.lock().take() else { return };
        *self.jumped.lock() += by;
        advance(by).await;
    }

    /// By how much the clock has jumped.
    pub(crate) fn jumped(&self) -> Duration {
        *self.jumped.lock()
    }
}

impl SimulatedNetwork {
    pub(crate) fn new(kafka: Kafka, faults: Arc<Faults>) -> Arc<Self> {
        Arc::new(Self { kafka, faults, connections: Mutex::default() })
    }
}

impl Network for SimulatedNetwork {
    fn connect<'a>(&'a self, host: &'a str, _: u16) -> BoxFuture<'a, io::Result<Box<dyn Stream>>> {
        async move {
            self.faults.delay().await;
            let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
            let broker = broker_of(host).ok_or_else(refused)?;
            let closed = match self.kafka.state().brokers.get(broker) {
                Some(found) if found.is_up => found.connections.clone(),
                _ => return Err(refused()),
            };
            if self.faults.one_of(self.faults.state.lock().refuses) {
                return Err(refused());
            }
            let (client, server) = duplex(PIPE);
            let (kafka, faults) = (self.kafka.clone(), Arc::clone(&self.faults));
            let serve = async move {
                closed.run_until_cancelled(serve(server, &kafka, broker, &faults)).await;
            };
            let mut connections = self.connections.lock();
            while connections.try_join_next().is_some() {}
            connections.spawn(serve);
            Ok(Box::new(client) as Box<dyn Stream>)
        }
        .boxed()
    }
}

/// Answers requests in order until the connection ends or breaks.
async fn serve(mut stream: DuplexStream, kafka: &Kafka, broker: usize, faults: &Faults) {
    let mut unread = BytesMut::new();
    loop {
        let len = |head| usize::try_from(i32::from_be_bytes(head)).ok();
        let Some(frame) = next_frame(&mut stream, &mut unread, len).await else { return };
        faults.delay().await;
        kafka.wakes(broker).await;
        #[expect(clippy::panic, reason = "the simulation itself is wrong")]
        let Some(answer) = answer(kafka, broker, frame).await else {
            panic!("a request that is not simulated")
        };
        if faults.one_of(faults.state.lock().silences) {
            return std::future::pending().await;
        }
        let breaks = faults.one_of(faults.state.lock().breaks);
        let len = if breaks { faults.random.lock().usize(..answer.len()) } else { answer.len() };
        if send(&mut stream, answer.slice(..len), faults).await.is_err() || breaks {
            return;
        }
        faults.jump_if_armed().await;
    }
}

/// The next frame of a stream, behind a head that tells its length; `None` at the end of the stream.
pub(crate) async fn next_frame<const HEAD: usize>(
    stream: &mut DuplexStream,
    unread: &mut BytesMut,
    len: impl Fn([u8; HEAD]) -> Option<usize>,
) -> Option<Bytes> {
    loop {
        if let Some(head) = unread.first_chunk() {
            let len = len(*head)?;
            if unread.len() >= len.checked_add(HEAD)? {
                unread.advance(HEAD);
                return Some(unread.split_to(len).freeze());
            }
        }
        if stream.read_buf(unread).await.ok()? == 0 {
            return None;
        }
    }
}

/// Passes on what a client and a bridge send, until one of them is gone. What the bridge sends comes late and in parts, and
/// breaks the connection at any byte.
pub(crate) async fn relay(client: DuplexStream, bridge: DuplexStream, faults: &Faults) {
    let ((mut from_client, mut to_client), (mut from_bridge, mut to_bridge)) = (split(client), split(bridge));
    let answers = async {
        let mut part = BytesMut::new();
        while from_bridge.read_buf(&mut part).await? > 0 {
            faults.delay().await;
            let breaks = faults.one_of(faults.state.lock().breaks);
            let len = if breaks { faults.random.lock().usize(..part.len()) } else { part.len() };
            send(&mut to_client, part.split_to(len).freeze(), faults).await?;
            if breaks {
                break;
            }
        }
        Ok(())
    };
    let ended: io::Result<()> = tokio::select! {
        ended = answers => ended,
        sent = copy(&mut from_client, &mut to_bridge) => sent.map(drop),
    };
    drop(ended);
}

/// Sends an answer in up to three parts.
async fn send(stream: &mut (impl AsyncWrite + Unpin), mut answer: Bytes, faults: &Faults) -> io::Result<()> {
    let parts = faults.random.lock().usize(..3);
    for _ in 0..parts {
        let part = answer.split_to(faults.random.lock().usize(..=answer.len()));
        stream.write_all(&part).await?;
        faults.delay().await;
    }
    stream.write_all(&answer).await
}

/// The bytes that are under way in each direction.
const PIPE: usize = 64 * 1024;
