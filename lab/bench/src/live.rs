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

use std::fmt;
use std::time::Duration;

use clap::ValueEnum;
use sluicegate_stack::process::allow_many_files;
use tokio::time::{Instant, interval, sleep};

use self::server::{Kind, Server};
use self::watch::Watchers;
use crate::figures::{Better, Figures};
use crate::report::{median, percentiles, say};
use crate::{Failure, Plan};

pub(crate) async fn run(plan: &Plan, figures: &mut Figures) -> Result<(), Failure> {
    say(&format!(
        "live      sockets on one partition, records of {VALUE} bytes, {} runs in turns, medians",
        plan.runs
    ));
    allow_many_files()?;
    for scenario in &plan.scenarios {
        match scenario {
            Scenario::Stuck => stuck(plan, figures).await?,
            Scenario::Idle => idle(plan, figures).await?,
            Scenario::Page => page::run(plan, figures).await?,
            Scenario::Flood | Scenario::Steady => {
                for sockets in &plan.live_sockets {
                    let kafka = Comparison { kinds: KAFKA, sockets: *sockets as usize };
                    say(&format!("{:<9} {sockets} sockets", scenario.to_string()));
                    match scenario {
                        Scenario::Flood => kafka.flood(plan, figures).await?,
                        _ => kafka.steady(plan, figures).await?,
                    }
                }
            }
        }
    }
    Ok(())
}

/// The first two scenarios, with fewer sockets: each costs nats-server a consumer.
pub(crate) async fn on_jetstream(plan: &Plan, figures: &mut Figures) -> Result<(), Failure> {
    let Comparison { sockets, .. } = JETSTREAM;
    say(&format!(
        "live      {sockets} sockets on one stream, messages of {VALUE} bytes, {} runs in turns, medians",
        plan.runs
    ));
    for scenario in &plan.scenarios {
        match scenario {
            Scenario::Flood => JETSTREAM.flood(plan, figures).await?,
            Scenario::Steady => JETSTREAM.steady(plan, figures).await?,
            Scenario::Stuck | Scenario::Idle | Scenario::Page => {}
        }
    }
    Ok(())
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

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_possible_value().map_or(Ok(()), |value| f.write_str(value.get_name()))
    }
}

impl Comparison {
    async fn flood(&self, plan: &Plan, figures: &mut Figures) -> Result<(), Failure> {
        let (records, mut sent) = (self.flood_records(), Vec::new());
        let speeds = turns(plan, self.kinds, async |kind| {
            let server = Server::start(kind, plan, 1).await?;
            let watchers = Watchers::open(&server, self.sockets, 0).await;
            let (before, start) = (server.usage()?, Instant::now());
            server.publish_fast(records).await?;
            let delivered = watchers.until(self.sockets * records, Duration::from_secs(60)).await;
            let seconds = watchers.last().saturating_duration_since(start).as_secs_f64();
            let cpu = server.usage()?.cpu_since(before);
            sent.extend(server.sent().await?);
            Ok((delivered as f64 / seconds, cpu / delivered as f64 * 1e6, delivered))
        })
        .await?;
        for (kind, runs) in self.kinds.into_iter().zip(&speeds) {
            let of = |of: fn(&(f64, f64, usize)) -> f64| median(runs.iter().map(of));
            let (speed, cpu) = (of(|run| run.0) / 1e6, of(|run| run.1));
            let arrived = of(|run| run.2 as f64) / (self.sockets * records) as f64 * 100.0;
            say(&format!(
                "flood     {:<17} {speed:.2} M deliveries/s, {cpu:.2} µs of CPU each, {arrived:.0} % arrived",
                kind.name(),
            ));
            let name = self.figure("flood", kind);
            figures.add(&name, "k/s", Better::More, runs.iter().map(|run| run.0 / 1e3));
            let cpu = runs.iter().map(|run| run.1);
            figures.add(&format!("{name}: CPU of a delivery"), "µs", Better::Less, cpu);
        }
        let medians = speeds.map(|runs| median(runs.iter().map(|run| run.0)));
        for (kind, [ours, speed]) in beside(self.kinds, medians) {
            say(&format!("flood     ratio to {}: {:.2}{}", kind.name(), ours / speed, kind.target()));
        }
        say_sent("flood", sent);
        Ok(())
    }

    /// Enough for some seconds, with few sockets too.
    fn flood_records(&self) -> usize {
        FLOOD_DELIVERIES.div_euclid(self.sockets.max(1)).clamp(FLOOD, 10 * FLOOD)
    }

    fn figure(&self, scenario: &str, kind: Kind) -> String {
        format!("live {scenario}, {} sockets, {}", self.sockets, kind.name())
    }

    /// Records at each steady rate: how late they are, and what they cost.
    async fn steady(&self, plan: &Plan, figures: &mut Figures) -> Result<(), Failure> {
        for rate in plan.rates.iter().copied() {
            let mut sent = Vec::new();
            let runs = turns(plan, self.kinds, async |kind| {
                let server = Server::start(kind, plan, 1).await?;
                let watchers = Watchers::open(&server, self.sockets, 0).await;
                let run = steady(&server, &watchers, rate, plan.seconds).await?;
                sent.extend(server.sent().await?);
                Ok(run)
            })
            .await?;
            let rate = format!("{rate}/s");
            for (kind, runs) in self.kinds.into_iter().zip(&runs) {
                let name = self.figure(&rate, kind);
                figures.add(&format!("{name}: p50"), "ms", Better::Less, runs.iter().map(|run| run.p50));
                figures.add(&format!("{name}: p99"), "ms", Better::Less, runs.iter().map(|run| run.p99));
                let cpu = runs.iter().map(|run| run.cpu);
                figures.add(&format!("{name}: CPU of a delivery"), "µs", Better::Less, cpu);
                let Steady { p50, p99, cpu } = Steady::median(runs);
                say(&format!(
                    "{rate:<9} {:<17} p50 {p50:.2} ms, p99 {p99:.2} ms, {cpu:.1} µs of CPU for each delivery",
                    kind.name()
                ));
            }
            for (kind, [ours, other]) in beside(self.kinds, runs.map(|runs| Steady::median(&runs))) {
                let (p50, p99, cpu) = (ours.p50 / other.p50, ours.p99 / other.p99, ours.cpu / other.cpu);
                say(&format!("{rate:<9} ratio to {}: p50 {p50:.2}, p99 {p99:.2}, CPU {cpu:.2}", kind.name()));
            }
            say_sent(&rate, sent);
        }
        Ok(())
    }
}

/// The values of each subject: all are measured in turns, as often as the plan says.
async fn turns<K: Copy, V, const N: usize>(
    plan: &Plan,
    subjects: [K; N],
    mut measure: impl AsyncFnMut(K) -> Result<V, Failure>,
) -> Result<[Vec<V>; N], Failure> {
    let mut values = subjects.map(|_| Vec::new());
    for _ in 0..plan.runs {
        for (subject, values) in subjects.into_iter().zip(&mut values) {
            values.push(measure(subject).await?);
        }
    }
    Ok(values)
}

/// The value of the first kind, which is ours, beside that of each other.
fn beside<V: Copy>(kinds: [Kind; 3], values: [V; 3]) -> impl Iterator<Item = (Kind, [V; 2])> {
    let [ours, ..] = values;
    kinds.into_iter().zip(values).skip(1).map(move |(kind, other)| (kind, [ours, other]))
}

/// Prints the bytes that Kafka has sent, beside one consumer that reads each byte of the log once.
fn say_sent(scenario: &str, sent: Vec<f64>) {
    if !sent.is_empty() {
        say(&format!("{scenario:<9} Kafka has sent {:.2} × the log (target 1.2)", median(sent.into_iter())));
    }
}

#[derive(Debug, Clone, Copy)]
struct Steady {
    /// Milliseconds from [`Server::publish`]'s time to a socket.
    p50: f64,
    p99: f64,
    /// Microseconds for each delivery.
    cpu: f64,
}

impl Steady {
    fn median(runs: &[Self]) -> Self {
        let of = |of: fn(&Self) -> f64| median(runs.iter().map(of));
        Self { p50: of(|run| run.p50), p99: of(|run| run.p99), cpu: of(|run| run.cpu) }
    }
}

/// Publishes at this rate, after a second that does not count.
async fn steady(server: &Server, watchers: &Watchers, rate: u32, seconds: u32) -> Result<Steady, Failure> {
    let mut ticks = interval(Duration::from_secs(1) / rate);
    // Connections and caches are warm after some.
    for _ in 0..rate {
        ticks.tick().await;
        server.publish().await?;
    }
    let first = server.published();
    watchers.keep_from(first);
    watchers.until(watchers.len() * first, PATIENCE).await;
    let before = server.usage()?;
    let mut published = Vec::new();
    for _ in 0..rate * seconds {
        ticks.tick().await;
        published.push(server.publish().await?);
    }
    watchers.until(watchers.len() * server.published(), PATIENCE).await;
    let cpu = server.usage()?.cpu_since(before);
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
    Ok(Steady { p50: p50 * 1e3, p99: p99 * 1e3, cpu: cpu / took.len() as f64 * 1e6 })
}

/// Effect of clients that read nothing on the others.
async fn stuck(plan: &Plan, figures: &mut Figures) -> Result<(), Failure> {
    let runs = turns(plan, [0, STUCK], async |stuck| {
        let server = Server::start(Kind::Sluicegate, plan, 1).await?;
        let watchers = Watchers::open(&server, SOCKETS as usize - STUCK, stuck).await;
        // More than what connections have room for.
        server.publish_fast(STUCK_FLOOD).await?;
        steady(&server, &watchers, STUCK_RATE, plan.seconds).await
    })
    .await?;
    for (name, runs) in ["without stuck clients", "beside stuck clients"].into_iter().zip(&runs) {
        figures.add(&format!("live {name}: p99"), "ms", Better::Less, runs.iter().map(|run| run.p99));
    }
    let [without, with] = runs.map(|runs| Steady::median(&runs).p99);
    say(&format!(
        "stuck     p99 {with:.2} ms beside {STUCK} stuck clients, {without:.2} ms without: ratio {:.2} (target 1.5)",
        with / without
    ));
    Ok(())
}

/// Subscribers of many partitions to which nothing is written.
async fn idle(plan: &Plan, figures: &mut Figures) -> Result<(), Failure> {
    let server = Server::start(Kind::Sluicegate, plan, IDLE_PARTITIONS).await?;
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
    let after = server.usage()?;
    let cpu = after.cpu_since(opened) / start.elapsed().as_secs_f64() * 100.0;
    let each = |of: fn(&server::Usage) -> u64| of(&after).saturating_sub(of(&before)) / added as u64 / 1024;
    let (bridge, envoy) = (each(|usage| usage.bridge_bytes), each(|usage| usage.gateway_bytes));
    let name = format!("live idle, {IDLE} subscribers");
    figures.add(&format!("{name}: CPU of Envoy and bridge"), "% of a core", Better::Less, [cpu]);
    figures.add(&format!("{name}: memory of Envoy"), "KiB", Better::Less, [envoy as f64]);
    figures.add(&format!("{name}: memory of the bridge"), "KiB", Better::Less, [bridge as f64]);
    say(&format!(
        "idle      {IDLE} subscribers of {IDLE_PARTITIONS} partitions: {cpu:.1} % of a core (target 2), {bridge} KiB \
         in the bridge and {envoy} KiB in Envoy each (target 60)"
    ));
    Ok(())
}

pub(crate) const SOCKETS: u32 = 1000;
const KAFKA: [Kind; 3] = [Kind::Sluicegate, Kind::Nats, Kind::NatsBehindEnvoy];
const JETSTREAM: Comparison =
    Comparison { kinds: [Kind::SluicegateOnNats, Kind::Consumers, Kind::Core], sockets: 64 };
/// Bytes of a record's value.
const VALUE: usize = 100;
/// Precedes the number of a record in its value.
const MARKER: &[u8] = b"\x01~record~";
/// Records of a flood at least.
const FLOOD: usize = 40_000;
const FLOOD_DELIVERIES: usize = 40_000_000;
const STUCK: usize = 100;
const STUCK_RATE: u32 = 20;
/// Records before the measurement beside stuck clients.
const STUCK_FLOOD: usize = 20_000;
const IDLE: usize = 10_000;
const IDLE_PARTITIONS: i32 = 100;
const QUIET: Duration = Duration::from_secs(10);
/// Default of `session.ping_interval_ms`.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PATIENCE: Duration = Duration::from_secs(20);
