//! The CPU of a browser whose page loops over records, beside the same page with the NATS project's client.

use std::time::Duration;

use sluicegate_stack::browser;
use tokio::time::interval;

use super::server::{Kind, Server};
use super::{beside, turns};
use crate::figures::{Better, Figures};
use crate::report::{median, say};
use crate::{Failure, Plan};

/// Pages in turns, each of which gets the same records at a steady rate.
pub(super) async fn run(plan: &Plan, figures: &mut Figures) -> Result<(), Failure> {
    say(&format!("page      {RATE} records/s in Chromium, {} s", plan.seconds));
    let runs = turns(plan, KINDS, async |kind| used(kind, plan).await).await?;
    for (kind, runs) in KINDS.into_iter().zip(&runs) {
        let Used { browser, thread } = Used::median(runs);
        say(&format!(
            "page      {:<17} {browser:.1} µs of CPU a record, {thread:.1} of them in the page's main thread",
            kind.name()
        ));
        let name = |of| format!("page, {}: CPU of {of} for a record", kind.name());
        figures.add(&name("the browser"), "µs", Better::Less, runs.iter().map(|run| run.browser));
        figures.add(&name("the main thread"), "µs", Better::Less, runs.iter().map(|run| run.thread));
    }
    for (kind, [ours, other]) in beside(KINDS, runs.map(|runs| Used::median(&runs))) {
        let (browser, thread) = (ours.browser / other.browser, ours.thread / other.thread);
        say(&format!(
            "page      ratio to {}: {browser:.2}, main thread {thread:.2} (target 1.0)",
            kind.name()
        ));
    }
    Ok(())
}

/// Microseconds of CPU for each record.
#[derive(Debug, Clone, Copy)]
struct Used {
    browser: f64,
    /// The thread that runs the page's code.
    thread: f64,
}

impl Used {
    fn median(runs: &[Self]) -> Self {
        let of = |of: fn(&Self) -> f64| median(runs.iter().map(of));
        Self { browser: of(|run| run.browser), thread: of(|run| run.thread) }
    }
}

async fn used(kind: Kind, plan: &Plan) -> Result<Used, Failure> {
    let server = Server::with_linger(kind, plan, 1, LINGER_MS).await?;
    let client = if kind == Kind::Sluicegate { "sluicegate" } else { "nats" };
    let (address, topic) = server.for_browsers()?;
    let args = [client, &address, topic];
    let (mut used, mut failure) = (None, None);
    let within = Duration::from_secs(u64::from(plan.seconds) + 120);
    browser::run("consume.ts", &args, within, async |request| {
        if let Some(seconds) = request.strip_prefix("used ") {
            used = parse(seconds, plan.seconds * RATE);
            return "noted".to_owned();
        }
        let seconds = if request == "warm up" { WARM_UP } else { plan.seconds };
        match publish(&server, seconds).await {
            Ok(records) => records.to_string(),
            Err(error) => {
                failure = Some(error);
                "0".to_owned()
            }
        }
    })
    .await?;
    match failure {
        Some(failure) => Err(failure),
        None => used.ok_or_else(|| "the page has told no figures".into()),
    }
}

/// Seconds of CPU as the page tells them, for each of so many records.
fn parse(seconds: &str, records: u32) -> Option<Used> {
    let each = |seconds: &str| Some(seconds.parse::<f64>().ok()? / f64::from(records) * 1e6);
    let (browser, thread) = seconds.split_once(' ')?;
    Some(Used { browser: each(browser)?, thread: each(thread)? })
}

/// Publishes at [`RATE`]. Gives the number of records.
async fn publish(server: &Server, seconds: u32) -> Result<u32, Failure> {
    let mut ticks = interval(Duration::from_secs(1) / TICKS);
    for _ in 0..seconds * TICKS {
        ticks.tick().await;
        server.publish_fast((RATE / TICKS) as usize).await?;
    }
    Ok(seconds * RATE)
}

const KINDS: [Kind; 3] = [Kind::Sluicegate, Kind::Nats, Kind::NatsBehindEnvoy];
/// Records a second, as many at each of [`TICKS`] in a second.
const RATE: u32 = 10_000;
const TICKS: u32 = 100;
/// Enough for the records of a tick to be one batch, as they are one write to nats-server.
const LINGER_MS: u32 = 1;
/// Seconds.
const WARM_UP: u32 = 3;
