//! Parts of a measurement, each in a process of its own, so that its CPU is known.

mod readers;
mod writers;

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use sluicegate_stack::process::Process;
use tokio::process::Command;
use tokio::runtime::Builder;

use crate::Failure;
use crate::place::Meter;
use crate::report::{percentiles, say};

/// The clients of a part, and what they do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Part {
    /// Clients of the gateway that fetch a log.
    Walk {
        url: String,
        system: System,
        log: Log,
    },
    /// Clients of the gateway that take a table.
    Hold {
        url: String,
        log: Log,
    },
    Consume {
        bootstrap: String,
        log: Log,
    },
    /// async-nats clients that read.
    Pull {
        server: SocketAddr,
        log: Log,
    },
    /// Clients of the gateway that write over sessions.
    Produce {
        url: String,
        writing: Writing,
    },
    /// Clients of the gateway that write by plain HTTP.
    Post {
        gateway: SocketAddr,
        path: String,
        writing: Writing,
    },
    /// A librdkafka producer with as many records in flight as the clients.
    Wait {
        properties: Vec<(String, String)>,
        writing: Writing,
    },
    /// A librdkafka producer with a full queue.
    Stream {
        properties: Vec<(String, String)>,
        writing: Writing,
    },
}

/// The messaging system behind the gateway.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum System {
    Kafka,
    Nats,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Log {
    /// A topic with one partition, or a stream.
    pub(crate) topic: String,
    pub(crate) end: i64,
    pub(crate) clients: u32,
    /// Number of times that each client reads the log.
    pub(crate) rounds: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Writing {
    pub(crate) topic: String,
    pub(crate) size: u32,
    pub(crate) clients: u32,
    /// Writes that begin within this time are measured.
    pub(crate) seconds: u32,
    pub(crate) batch: usize,
    /// Requests that each client keeps in flight.
    pub(crate) in_flight: usize,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    pub(crate) seconds: f64,
    /// Median and 99th percentile of the requests' durations, in seconds.
    pub(crate) latency: Option<(f64, f64)>,
    pub(crate) cpu: Cpu,
}

/// Seconds of CPU, user and system, while a part ran.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Cpu {
    /// The part's own process.
    pub(crate) client: f64,
    pub(crate) envoy: f64,
    pub(crate) bridge: f64,
    /// Kafka or nats-server.
    pub(crate) system: f64,
}

/// Messages that a client has read, and their bytes.
#[derive(Debug, Default)]
pub(crate) struct Read {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    /// The duration of each request, if that is measured.
    pub(crate) took: Took,
}

pub(crate) type Took = Vec<Duration>;

impl Part {
    /// Runs it in its own process, beside Envoy, bridge and messaging system.
    pub(crate) async fn measure(&self, processes: [&Process; 3]) -> Result<Measured, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["part", &serde_json::to_string(self)?]).stdout(Stdio::piped()).kill_on_drop(true);
        let meter = Meter::start(processes)?;
        let output = command.spawn()?.wait_with_output().await?;
        let [envoy, bridge, system] = meter.seconds()?;
        if !output.status.success() {
            return Err(format!("{self:?} ended with {}", output.status).into());
        }
        let measured: Measured = serde_json::from_slice(&output.stdout)?;
        Ok(Measured { cpu: Cpu { envoy, bridge, system, ..measured.cpu }, ..measured })
    }
}

/// Runs a part in this process, and prints what [`Part::measure`] reads.
pub(crate) fn run(json: &str) -> Result<(), Failure> {
    let mut measured = match serde_json::from_str::<Part>(json)? {
        Part::Walk { url, system, log } => reads(&log, async || readers::walk(&url, system, &log).await)?,
        Part::Hold { url, log } => reads(&log, async || readers::hold(&url, &log).await)?,
        Part::Pull { server, log } => reads(&log, async || readers::pull(server, &log).await)?,
        Part::Consume { bootstrap, log } => {
            let start = Instant::now();
            Measured::of_reads(readers::consume(&bootstrap, &log)?, start.elapsed())
        }
        Part::Produce { url, writing } => writes(
            &writing,
            writing.clients as usize,
            async || writers::session(&url).await,
            async |socket, start| writers::produce(&writing, socket, start).await,
        )?,
        Part::Post { gateway, path, writing } => writes(
            &writing,
            writing.clients as usize,
            async || writers::connect(gateway).await,
            async |connection, start| writers::post(&writing, gateway, &path, connection, start).await,
        )?,
        Part::Wait { properties, writing } => {
            let producer = writers::producer(&properties)?;
            // The first record fetches the producer id from the broker, which takes a while.
            let ready = async || writers::request(&producer, &writing, 1).await;
            let again = async |(), start| writers::again_and_again(&producer, &writing, start).await;
            writes(&writing, writing.clients as usize * writing.in_flight, ready, again)?
        }
        Part::Stream { properties, writing } => writers::stream(&properties, &writing)?,
    };
    let used = clock_gettime(ClockId::ProcessCPUTime);
    measured.cpu.client = used.tv_sec as f64 + used.tv_nsec as f64 / 1e9;
    say(&serde_json::to_string(&measured)?);
    Ok(())
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
        let messages = took.len() as u64 * writing.batch as u64;
        Ok(Measured {
            messages,
            bytes: messages * u64::from(writing.size),
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
        let took: Took = reads.iter().flat_map(|read| read.took.iter().copied()).collect();
        Self {
            messages: reads.iter().map(|read| read.messages).sum(),
            bytes: reads.iter().map(|read| read.bytes).sum(),
            seconds: elapsed.as_secs_f64(),
            latency: (!took.is_empty()).then(|| percentiles(&took)),
            cpu: Cpu::default(),
        }
    }

    pub(crate) fn rate(&self) -> f64 {
        self.messages as f64 / self.seconds
    }

    pub(crate) fn per_million(&self, cpu: f64) -> f64 {
        cpu / (self.messages as f64 / 1e6)
    }

    /// Seconds of CPU of Envoy and bridge.
    pub(crate) fn gateway(&self) -> f64 {
        self.cpu.envoy + self.cpu.bridge
    }
}

/// The head of a table of parts.
pub(crate) fn heading(first: &str, who: &str, system: &str) {
    say(&format!(
        "\n{first:>7}  {who:<22} messages/s     MB/s   p50 ms   p99 ms   CPU seconds per million messages"
    ));
    say(&format!("{:67} client   Envoy  bridge {system:>7}", ""));
}

pub(crate) fn line(first: u32, who: &str, part: &Measured) {
    let latency = part.latency.map_or_else(
        || format!("{:>8} {:>8}", "", ""),
        |(p50, p99)| format!("{:>8.2} {:>8.2}", p50 * 1e3, p99 * 1e3),
    );
    let used = [part.cpu.client, part.cpu.envoy, part.cpu.bridge, part.cpu.system];
    let used = used.map(|cpu| format!("{:>7.2}", part.per_million(cpu))).join(" ");
    let (rate, bytes) = (part.rate(), part.bytes as f64 / 1e6 / part.seconds);
    say(&format!("{first:>7}  {who:<20} {rate:>11.0} {bytes:>8.1} {latency}  {used}"));
}
