//! Measures 50,000 sockets on one bridge: half of them idle, half subscribed to topics with a record a second each;
//! and what happens when the bridge is killed.
//!
//! 1. [`clients`]: processes full of clients that come back
//! 2. [`seen`]: what they count
//! 3. here: the phases

pub(crate) mod clients;
mod seen;

use std::process::Stdio;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};
use sluicegate_stack::envoy::{self, Envoy};
use sluicegate_stack::folder::Folder;
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::port::Port;
use sluicegate_stack::process::{Usage, allow_many_files, total};
use sluicegate_stack::stack::{Setup, Stack};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval, sleep};

use self::clients::Task;
use self::seen::Seen;
use crate::figures::Figures;
use crate::place::{MANY_SESSIONS, bridge_of, cpu_between};
use crate::report::say;
use crate::{Failure, Plan};

pub(crate) async fn run(plan: &Plan, figures: &mut Figures) -> Result<(), Failure> {
    let sockets = u64::from(plan.sockets);
    say(&format!(
        "crowd     {sockets} sockets behind {GATEWAYS} Envoys and one bridge, every second one subscribed to one of {TOPICS} \
         topics with a record of {VALUE} bytes a second each"
    ));
    allow_many_files()?;
    let mut place = Place::start(plan).await?;
    let empty = place.usage()?;
    let start = Instant::now();
    place.until(sockets, 0, Duration::from_secs(600)).await?;
    let rate = sockets as f64 / start.elapsed().as_secs_f64();
    figures.more("crowd: sockets opened in a second", "1/s", [rate]);
    sleep(SETTLE).await;
    let full = place.usage()?;
    for (program, (empty, full)) in ["Envoy", "the bridge"].into_iter().zip(empty.into_iter().zip(full)) {
        let each = full.resident_bytes.saturating_sub(empty.resident_bytes) as f64 / sockets as f64 / 1024.0;
        figures.less(&format!("crowd: memory of {program} for a socket"), "KiB", [each]);
    }
    let (idle, start) = (place.usage()?, Instant::now());
    sleep(STEADY).await;
    place.add_used(figures, "idle", idle, start)?;

    let publisher = place.publish().await?;
    sleep(SETTLE).await;
    place.steady("steady", figures).await?;

    say("kill      the bridge is killed and starts again");
    let (before, killed) = (place.usage()?, Instant::now());
    place.stack.bridge.process.kill();
    place.stack.bridge.up().await?;
    let storm = place.until(sockets, sockets, Duration::from_secs(300)).await?;
    figures.less("crowd: all are back after a kill", "s", [killed.elapsed().as_secs_f64()]);
    figures.less("crowd storm: failed attempts", "", [storm.failed.saturating_sub(sockets) as f64]);
    figures.less("crowd storm: p99", "ms", [storm.within(0.99)]);
    place.add_used(figures, "storm", before, killed)?;
    sleep(SETTLE).await;
    place.steady("after", figures).await?;
    publisher.abort();
    Ok(())
}

struct Place {
    kafka: Kafka,
    topics: Vec<String>,
    stack: Stack,
    others: Vec<Envoy>,
    crowds: Vec<Process>,
    _folder: Folder,
}

struct Process {
    _child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Place {
    async fn start(plan: &Plan) -> Result<Self, Failure> {
        let kafka = Kafka::start().await?;
        let mut topics = Vec::new();
        for _ in 0..TOPICS {
            topics.push(kafka.topic("crowd", 1, &[("message.timestamp.type", "LogAppendTime")]).await?);
        }
        let bridge = bridge_of(&kafka, MANY_SESSIONS);
        let mut stack =
            Stack::start(Setup { concurrency: 1, bridge, ..Setup::new(plan.profile, "") }).await?;
        stack.ready_within(Duration::from_secs(30)).await?;
        let folder = Folder::new("crowd")?;
        let mut others = Vec::new();
        for number in 1..GATEWAYS {
            let setup = envoy::Setup {
                profile: plan.profile,
                gateway: Port::pick()?,
                bridge: stack.bridge.grpc(),
                bridge_admin: stack.bridge.admin(),
                program: None,
                concurrency: 1,
                edits: Vec::new(),
            };
            let folder = folder.path().join(number.to_string());
            std::fs::create_dir(&folder)?;
            others.push(Envoy::start(setup, &folder).await?);
        }
        let mut crowds = Vec::new();
        let gateways = std::iter::once(stack.gateway()).chain(others.iter().map(Envoy::gateway));
        for (number, gateway) in (0..GATEWAYS).zip(gateways) {
            // The first ones have what is left of a division.
            let sockets = (plan.sockets + u32::from(GATEWAYS - 1 - number)) / u32::from(GATEWAYS);
            let task = Task { gateway, number, sockets, topics: topics.clone() };
            let mut command = Command::new(std::env::current_exe()?);
            command.args(["crowd", &serde_json::to_string(&task)?]);
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
            let mut child = command.spawn()?;
            let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
                return Err("a process of clients has no pipes".into());
            };
            crowds.push(Process { _child: child, input, output: BufReader::new(output).lines() });
        }
        Ok(Self { kafka, topics, stack, others, crowds, _folder: folder })
    }

    /// Writes to all topics in turns, once the producer knows them all.
    async fn publish(&self) -> Result<JoinHandle<()>, Failure> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.kafka.bootstrap()).set("linger.ms", "0");
        let producer: FutureProducer = config.create()?;
        let topics = self.topics.clone();
        for topic in &topics {
            let sent = producer.send_result(record(topic)).map_err(|(error, _)| error)?;
            sent.await?.map_err(|(error, _)| error)?;
        }
        Ok(tokio::spawn(async move {
            let mut ticks = interval(Duration::from_secs(1) / TOPICS);
            for topic in topics.iter().cycle() {
                ticks.tick().await;
                // A record that is not written is not delivered, either.
                drop(producer.send_result(record(topic)));
            }
        }))
    }

    /// Counts of all clients since the last report. A record that was lost or came twice is an error.
    async fn report(&mut self) -> Result<Seen, Failure> {
        let mut sum = Seen::default();
        for Process { input, output, .. } in &mut self.crowds {
            input.write_all(b"\n").await?;
            let line = output.next_line().await?.ok_or("a process of clients has ended")?;
            sum.add(&serde_json::from_str(&line)?);
        }
        if sum.lost + sum.repeated > 0 {
            return Err(format!("{} records were lost, and {} repeated", sum.lost, sum.repeated).into());
        }
        Ok(sum)
    }

    /// Waits until so many sockets are open, and so many have ended or failed; gives the counts meanwhile.
    async fn until(&mut self, sockets: u64, failed: u64, within: Duration) -> Result<Seen, Failure> {
        let start = Instant::now();
        let mut all = Seen::default();
        loop {
            let now = self.report().await?;
            let open = now.open;
            all.open = 0;
            all.add(&now);
            if open == sockets && all.failed >= failed {
                return Ok(all);
            }
            if start.elapsed() > within {
                return Err(format!("{open} of {sockets} sockets are open after {within:?}").into());
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Delivery for a while. A record's way begins when Kafka has written it.
    async fn steady(&mut self, name: &str, figures: &mut Figures) -> Result<(), Failure> {
        self.report().await?;
        let (before, start) = (self.usage()?, Instant::now());
        sleep(STEADY).await;
        let seen = self.report().await?;
        let cpu: f64 = cpu_between(before, self.usage()?).iter().sum();
        let each = cpu / seen.delivered() * 1e6;
        figures.more(&format!("crowd {name}: deliveries"), "1/s", [seen.delivered() / STEADY.as_secs_f64()]);
        figures.less(&format!("crowd {name}: p50"), "ms", [seen.within(0.5)]);
        figures.less(&format!("crowd {name}: p99"), "ms", [seen.within(0.99)]);
        figures.less(&format!("crowd {name}: CPU of a delivery, with all pings"), "µs", [each]);
        self.add_used(figures, name, before, start)
    }

    /// Adds what all processes have used since then.
    fn add_used(
        &self,
        figures: &mut Figures,
        name: &str,
        before: [Usage; 2],
        start: Instant,
    ) -> Result<(), Failure> {
        let used = cpu_between(before, self.usage()?);
        for (program, cpu) in ["Envoys", "the bridge"].into_iter().zip(used) {
            let percent = cpu / start.elapsed().as_secs_f64() * 100.0;
            figures.less(&format!("crowd {name}: CPU of {program}"), "% of a core", [percent]);
        }
        Ok(())
    }

    /// CPU and memory of all Envoys, and of the bridge.
    fn usage(&self) -> Result<[Usage; 2], Failure> {
        let envoys = std::iter::once(self.stack.envoy()).chain(&self.others).map(|envoy| &envoy.process);
        Ok([total(envoys)?, self.stack.bridge.process.usage()?])
    }
}

fn record(topic: &str) -> FutureRecord<'_, [u8], [u8]> {
    FutureRecord::to(topic).partition(0).payload(&[b'x'; VALUE])
}

/// Envoys, each with a process of clients: a process has 20,000 files at most on many systems.
const GATEWAYS: u8 = 3;
const TOPICS: u32 = 500;
const VALUE: usize = 100;
/// Time for the effects of a change to pass.
const SETTLE: Duration = Duration::from_secs(10);
const STEADY: Duration = Duration::from_secs(60);
