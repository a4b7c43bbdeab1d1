//! Measures live delivery to many sockets beside nats-server's own WebSocket endpoint: of Kafka beside messages in
//! memory only, without and with an Envoy in front, and of JetStream beside the server's consumers. All clients are the
//! same code ([`watch`]); what did not arrive does not count.
//!
//! 1. [`server`]: starts a system, subscribes, publishes
//! 2. [`watch`]: sockets that note when each record arrives
//! 3. [`page`]: the same in a browser
//! 4. here: the scenarios, in turns, and the medians

mod page;
mod server;
mod watch;

use std::time::Duration;

use clap::ValueEnum;
use sluicegate_stack::process::allow_many_files;
use tokio::time::{Instant, interval, sleep};

use self::server::{Kind, Server};
use self::watch::Watchers;
use crate::figures::{Better, Figures};
use crate::report::{median, percentiles, say};
use crate::turns::{column, in_turns};
use crate::{Failure, Plan};

pub(crate) async fn run(plan: &Plan, figures: &mut Figures) -> Result<(), Failure> {
    say(&format!(
        "live      sockets on one partition, records of {VALUE} bytes, {} runs in turns",
        plan.runs
    ));
    allow_many_files()?;
    for sockets in &plan.live_sockets {
        Comparison { kinds: KAFKA, sockets: *sockets as usize }.run(plan, figures).await?;
    }
    for scenario in &plan.scenarios {
        match scenario {
            Scenario::Stuck => stuck(plan, figures).await?,
            Scenario::Idle => idle(plan, figures).await?,
            Scenario::Page => page::run(plan, figures).await?,
            Scenario::Flood | Scenario::Steady => {}
        }
    }
    Ok(())
}

/// With fewer sockets: each costs nats-server a consumer.
pub(crate) async fn on_jetstream(plan: &Plan, figures: &mut Figures) -> Result<(), Failure> {
    const KINDS: [Kind; 3] = [Kind::SluicegateOnNats, Kind::Consumers, Kind::Core];
    Comparison { kinds: KINDS, sockets: 64 }.run(plan, figures).await
}

/// Systems to compare, and their number of sockets.
struct Comparison {
    /// The first one beside the others.
    kinds: [Kind; 3],
    sockets: usize,
}

/// Something to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// As fast as it goes
    Flood,
    /// At a steady rate
    Steady,
    /// Beside clients that read nothing
    Stuck,
    /// Without records
    Idle,
    /// To a page in a browser: `./dev bench-page`
    Page,
}

impl Scenario {
    /// All that need no browser.
    pub(crate) const USUAL: [Self; 4] = [Self::Flood, Self::Steady, Self::Stuck, Self::Idle];
}

impl Comparison {
    async fn run(&self, plan: &Plan, figures: &mut Figures) -> Result<(), Failure> {
        for scenario in &plan.scenarios {
            match scenario {
                Scenario::Flood => self.flood(plan, figures).await?,
                Scenario::Steady => self.steady(plan, figures).await?,
                Scenario::Stuck | Scenario::Idle | Scenario::Page => {}
            }
        }
        Ok(())
    }

    async fn flood(&self, plan: &Plan, figures: &mut Figures) -> Result<(), Failure> {
        let (records, mut sent) = (self.flood_records(), Vec::new());
        let runs = in_turns(plan.runs, &self.kinds, async |kind| {
            let server = Server::start(*kind, plan, 1, 0).await?;
            let watchers = Watchers::open(&server, self.sockets, 0).await;
            let (before, start) = (server.usage()?, Instant::now());
            server.publish(records).await?;
            let wanted = self.sockets * records;
            let delivered = watchers.until(wanted, Duration::from_secs(60)).await as f64;
            let seconds = watchers.last().saturating_duration_since(start).as_secs_f64();
            let cpu = server.cpu_since(before)?;
            sent.extend(server.sent().await?);
            Ok([delivered / seconds / 1e3, cpu / delivered * 1e6, delivered / wanted as f64 * 100.0])
        })
        .await?;
        self.add(figures, "flood", &runs, OF_FLOOD, sent);
        Ok(())
    }

    /// Enough for some seconds, with few sockets too.
    fn flood_records(&self) -> usize {
        FLOOD_DELIVERIES.div_euclid(self.sockets.max(1)).clamp(FLOOD, 10 * FLOOD)
    }

    /// Records at each steady rate: how late they are, and what they cost.
    async fn steady(&self, plan: &Plan, figures: &mut Figures) -> Result<(), Failure> {
        for rate in plan.rates.iter().copied() {
            let mut sent = Vec::new();
            let runs = in_turns(plan.runs, &self.kinds, async |kind| {
                let server = Server::start(*kind, plan, 1, 0).await?;
                let watchers = Watchers::open(&server, self.sockets, 0).await;
                let run = steady(&server, &watchers, rate, plan.seconds).await?;
                sent.extend(server.sent().await?);
                Ok(run)
            })
            .await?;
            self.add(figures, &format!("{rate}/s"), &runs, OF_STEADY, sent);
        }
        Ok(())
    }

    /// Adds runs, and the bytes that Kafka has sent, beside one consumer that reads each byte of the log once.
    fn add<const N: usize>(
        &self,
        figures: &mut Figures,
        scenario: &str,
        runs: &[Vec<[f64; N]>],
        columns: [Column; N],
        sent: Vec<f64>,
    ) {
        let name = format!("live {scenario}, {} sockets", self.sockets);
        add(figures, &name, &self.kinds, runs, columns);
        if !sent.is_empty() {
            figures.less(&format!("{name}: bytes from Kafka, to the log: ratio"), "×", sent);
        }
    }
}

/// A figure of each run: the end of its name, its unit, and the values that users prefer.
type Column = (&'static str, &'static str, Better);

/// Adds the figures of all runs of each kind, and the median of the first kind, which is ours, as a multiple of each other's.
fn add<const N: usize>(
    figures: &mut Figures,
    scenario: &str,
    kinds: &[Kind],
    runs: &[Vec<[f64; N]>],
    columns: [Column; N],
) {
    for (at, (name, unit, better)) in columns.into_iter().enumerate() {
        let mut ours = None;
        for (kind, runs) in kinds.iter().zip(runs) {
            let (kind, values) = (kind.name(), column(runs, at));
            let middle = median(values.iter().copied());
            figures.add(&format!("{scenario}, {kind}{name}"), unit, better, values);
            match ours {
                None => ours = Some(middle),
                Some(ours) => {
                    let name = format!("{scenario}, to {kind}{name}: ratio");
                    figures.add(&name, "×", better, vec![ours / middle]);
                }
            }
        }
    }
}

/// Publishes at this rate, after a second that does not count. Gives the median and the 99th percentile of the milliseconds
/// from [`Server::publish`]'s time to a socket, and the microseconds of CPU for each delivery.
async fn steady(server: &Server, watchers: &Watchers, rate: u32, seconds: u32) -> Result<[f64; 3], Failure> {
    let mut ticks = interval(Duration::from_secs(1) / rate);
    // Connections and caches are warm after some.
    for _ in 0..rate {
        ticks.tick().await;
        server.publish(1).await?;
    }
    let first = server.published();
    watchers.keep_from(first);
    watchers.until(watchers.len() * first, PATIENCE).await;
    let before = server.usage()?;
    let mut published = Vec::new();
    for _ in 0..rate * seconds {
        ticks.tick().await;
        published.push(server.publish(1).await?);
    }
    watchers.until(watchers.len() * server.published(), PATIENCE).await;
    let cpu = server.cpu_since(before)?;
    let took: Vec<Duration> = watchers
        .arrivals()
        .into_iter()
        .filter_map(|(number, at)| {
            Some(at.saturating_duration_since(*published.get(number.checked_sub(first)?)?))
        })
        .collect();
    if took.len() < watchers.len() * published.len() {
        say(&format!("          {} of {} deliveries arrived", took.len(), watchers.len() * published.len()));
    }
    let (p50, p99) = percentiles(&took);
    Ok([p50 * 1e3, p99 * 1e3, cpu / took.len() as f64 * 1e6])
}

/// Effect of clients that read nothing on the others.
async fn stuck(plan: &Plan, figures: &mut Figures) -> Result<(), Failure> {
    let runs = in_turns(plan.runs, &[0, STUCK], async |stuck| {
        let server = Server::start(Kind::Sluicegate, plan, 1, 0).await?;
        let watchers = Watchers::open(&server, SOCKETS as usize - STUCK, *stuck).await;
        // More than what connections have room for.
        server.publish(STUCK_FLOOD).await?;
        steady(&server, &watchers, STUCK_RATE, plan.seconds).await
    })
    .await?;
    let p99: Vec<Vec<f64>> = runs.iter().map(|runs| column(runs, 1)).collect();
    if let [without, beside] = &p99[..] {
        let [least, most] = [without, beside].map(|p99| median(p99.iter().copied()));
        figures.less("live beside stuck clients, to without: p99: ratio", "×", [most / least]);
    }
    for (name, p99) in ["without stuck clients", "beside stuck clients"].into_iter().zip(p99) {
        figures.less(&format!("live {name}: p99"), "ms", p99);
    }
    Ok(())
}

/// Changes of a table to many sockets, beside the same records without one.
pub(crate) async fn changes(rounds: u32, plan: &Plan, figures: &mut Figures) -> Result<(), Failure> {
    const KINDS: [Kind; 2] = [Kind::Table, Kind::Log];
    let runs = in_turns(rounds, &KINDS, async |kind| {
        let server = Server::start(*kind, plan, 1, 0).await?;
        let watchers = Watchers::open(&server, SOCKETS as usize, 0).await;
        steady(&server, &watchers, CHANGE_RATE, plan.seconds).await
    })
    .await?;
    add(figures, "changes", &KINDS, &runs, OF_STEADY);
    Ok(())
}

/// Subscribers of many partitions to which nothing is written.
async fn idle(plan: &Plan, figures: &mut Figures) -> Result<(), Failure> {
    let server = Server::start(Kind::Sluicegate, plan, IDLE_PARTITIONS, 0).await?;
    // Allocations that all subscribers share happen before the measurement.
    let first = Watchers::open(&server, IDLE_PARTITIONS as usize, 0).await;
    sleep(QUIET).await;
    let before = server.usage()?;
    let added = IDLE - first.len();
    let _added = Watchers::open(&server, added, 0).await;
    sleep(QUIET).await;
    let (opened, start) = (server.usage()?, Instant::now());
    // The time in which each of them is pinged once.
    sleep(PING_INTERVAL).await;
    let cpu = server.cpu_since(opened)? / start.elapsed().as_secs_f64() * 100.0;
    let after = server.usage()?;
    let name = format!("live idle, {IDLE} subscribers");
    figures.less(&format!("{name}: CPU of Envoy and bridge"), "% of a core", [cpu]);
    for (program, (before, after)) in ["Envoy", "the bridge"].into_iter().zip(before.into_iter().zip(after)) {
        let each = after.resident_bytes.saturating_sub(before.resident_bytes) as f64 / added as f64 / 1024.0;
        figures.less(&format!("{name}: memory of {program}"), "KiB", [each]);
    }
    Ok(())
}

pub(crate) const SOCKETS: u32 = 1000;
const KAFKA: [Kind; 3] = [Kind::Sluicegate, Kind::Nats, Kind::NatsBehindEnvoy];
const OF_FLOOD: [Column; 3] =
    [("", "k/s", Better::More), (CPU, "µs", Better::Less), (": arrived", "%", Better::More)];
const OF_STEADY: [Column; 3] =
    [(": p50", "ms", Better::Less), (": p99", "ms", Better::Less), (CPU, "µs", Better::Less)];
const CPU: &str = ": CPU of a delivery";
/// Bytes of a record's value.
const VALUE: usize = 100;
/// Precedes the number of a record in its value.
const MARKER: &[u8] = b"\x01~record~";
/// Records of a flood at least.
const FLOOD: usize = 40_000;
const FLOOD_DELIVERIES: usize = 40_000_000;
const STUCK: usize = 100;
const STUCK_RATE: u32 = 20;
const CHANGE_RATE: u32 = 100;
/// Records before the measurement beside stuck clients.
const STUCK_FLOOD: usize = 20_000;
const IDLE: usize = 10_000;
const IDLE_PARTITIONS: i32 = 100;
const QUIET: Duration = Duration::from_secs(10);
/// Default of `session.ping_interval_ms`.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PATIENCE: Duration = Duration::from_secs(20);
