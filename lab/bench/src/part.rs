//! Parts of a measurement, one at a time, so that the CPU of its clients is known.

mod readers;
mod writers;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use rdkafka::ClientConfig;
use rdkafka::producer::FutureProducer;
use rustix::time::{ClockId, clock_gettime};
use sluicegate_stack::http::client::Client;
use sluicegate_stack::process::Process;
use tokio::runtime::Builder;
use tokio::task::block_in_place;

pub(crate) use self::writers::stream;
use crate::Failure;
use crate::place::Meter;
use crate::report::percentiles;

/// The messaging system behind the gateway.
#[derive(Debug, Clone, Copy)]
pub(crate) enum System {
    Kafka,
    Nats,
}

#[derive(Debug, Clone)]
pub(crate) struct Log {
    /// A topic with one partition, or a stream.
    pub(crate) topic: String,
    pub(crate) end: i64,
    pub(crate) clients: u32,
    /// Number of times that each client reads the log.
    pub(crate) rounds: u64,
    /// Whether values with a schema are asked for as JSON.
    pub(crate) decodes: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Writing {
    pub(crate) topic: String,
    pub(crate) size: u32,
    pub(crate) clients: u32,
    /// Writes that begin within this time are measured.
    pub(crate) seconds: u32,
    pub(crate) batch: usize,
    /// Requests that each client keeps in flight.
    pub(crate) in_flight: usize,
    /// Whether each client is a producer, so that it could repeat its writes.
    pub(crate) repeatable: bool,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured {
    pub(crate) messages: u64,
    pub(crate) seconds: f64,
    /// Median and 99th percentile of the requests' durations, in seconds.
    pub(crate) latency: Option<(f64, f64)>,
    pub(crate) cpu: Cpu,
}

/// Seconds of CPU, user and system, while a part ran.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cpu {
    /// The part's own process.
    pub(crate) client: f64,
    pub(crate) envoy: f64,
    pub(crate) bridge: f64,
    /// Kafka or nats-server.
    pub(crate) system: f64,
}

/// The number of messages that a client has read, and the duration of each request, if that is measured.
pub(crate) type Read = (u64, Took);

pub(crate) type Took = Vec<Duration>;

/// Does a part's work, and measures the CPU of this process, which does nothing else, beside Envoy, bridge and messaging
/// system.
pub(crate) async fn measure(
    processes: [&Process; 3],
    work: impl FnOnce() -> Result<Measured, Failure>,
) -> Result<Measured, Failure> {
    let (meter, before) = (Meter::start(processes)?, cpu_of_this_process());
    let measured = block_in_place(work)?;
    let client = cpu_of_this_process() - before;
    let [envoy, bridge, system] = meter.seconds()?;
    Ok(Measured { cpu: Cpu { client, envoy, bridge, system }, ..measured })
}

fn cpu_of_this_process() -> f64 {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    used.tv_sec as f64 + used.tv_nsec as f64 / 1e9
}

/// Clients of the gateway that fetch a log.
pub(crate) fn walk(url: &str, system: System, log: &Log) -> Result<Measured, Failure> {
    reads(log, async || readers::walk(url, system, log).await)
}

/// Clients of the gateway that take a table.
pub(crate) fn hold(url: &str, log: &Log) -> Result<Measured, Failure> {
    reads(log, async || readers::hold(url, log).await)
}

/// async-nats clients that read.
pub(crate) fn pull(server: SocketAddr, log: &Log) -> Result<Measured, Failure> {
    reads(log, async || readers::pull(server, log).await)
}

/// librdkafka consumers.
pub(crate) fn consume(bootstrap: &str, log: &Log) -> Result<Measured, Failure> {
    let start = Instant::now();
    Ok(Measured::of_reads(readers::consume(bootstrap, log)?, start.elapsed()))
}

/// Clients of the gateway that write over sessions.
pub(crate) fn produce(url: &str, writing: &Writing) -> Result<Measured, Failure> {
    let write = async |socket, start| writers::produce(writing, socket, start).await;
    writes(writing, writing.clients as usize, async || writers::session(url).await, write)
}

/// Clients of the gateway that write by plain HTTP.
pub(crate) fn post(gateway: SocketAddr, path: &str, writing: &Writing) -> Result<Measured, Failure> {
    let connect = async || Ok(Client::connect(gateway).await?);
    let write = async |client, start| writers::post(writing, path, client, start).await;
    writes(writing, writing.clients as usize, connect, write)
}

/// A librdkafka producer with as many records in flight as the clients.
pub(crate) fn wait(properties: &ClientConfig, writing: &Writing) -> Result<Measured, Failure> {
    let producer: FutureProducer = properties.create()?;
    // The first record fetches the producer id from the broker, which takes a while.
    let ready = async || writers::request(&producer, writing, 1).await;
    let again = async |(), start| writers::again_and_again(&producer, writing, start).await;
    writes(writing, writing.clients as usize * writing.in_flight, ready, again)
}

fn reads(log: &Log, read: impl AsyncFn() -> Result<Read, Failure>) -> Result<Measured, Failure> {
    on_one_thread(async {
        let start = Instant::now();
        let reads = try_join_all((0..log.clients).map(|_| read())).await?;
        Ok(Measured::of_reads(reads, start.elapsed()))
    })
}

/// Lets all clients connect, and then write.
fn writes<C>(
    writing: &Writing,
    clients: usize,
    connect: impl AsyncFn() -> Result<C, Failure>,
    write: impl AsyncFn(C, Instant) -> Result<Took, Failure>,
) -> Result<Measured, Failure> {
    on_one_thread(async {
        let connected = try_join_all((0..clients).map(|_| connect())).await?;
        let start = Instant::now();
        let took = try_join_all(connected.into_iter().map(|client| write(client, start))).await?.concat();
        Ok(Measured {
            messages: took.len() as u64 * writing.batch as u64,
            seconds: start.elapsed().as_secs_f64(),
            latency: Some(percentiles(&took)),
            cpu: Cpu::default(),
        })
    })
}

/// More threads would take CPU from the measured processes.
fn on_one_thread<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    Builder::new_current_thread().enable_all().build()?.block_on(work)
}

impl Writing {
    pub(crate) fn value(&self) -> Vec<u8> {
        vec![b'x'; self.size as usize]
    }

    pub(crate) fn time(&self) -> Duration {
        Duration::from_secs(self.seconds.into())
    }
}

impl Measured {
    fn of_reads(reads: Vec<Read>, elapsed: Duration) -> Self {
        let messages = reads.iter().map(|(messages, _)| messages).sum();
        let took: Took = reads.into_iter().flat_map(|(_, took)| took).collect();
        let latency = (!took.is_empty()).then(|| percentiles(&took));
        Self { messages, seconds: elapsed.as_secs_f64(), latency, cpu: Cpu::default() }
    }

    pub(crate) fn rate(&self) -> f64 {
        self.messages as f64 / self.seconds
    }

    /// Microseconds of each message.
    pub(crate) fn each(&self, cpu: f64) -> f64 {
        cpu / self.messages as f64 * 1e6
    }

    /// Seconds of CPU of Envoy and bridge.
    pub(crate) fn gateway(&self) -> f64 {
        self.cpu.envoy + self.cpu.bridge
    }
}
