//! The CPU of a browser whose page loops over records, beside the same page with the NATS project's client.

use std::time::Duration;

use sluicegate_stack::browser;
use tokio::time::interval;

use super::server::{Kind, Server};
use super::{Column, add};
use crate::figures::{Better, Figures};
use crate::report::say;
use crate::turns::in_turns;
use crate::{Failure, Plan};

/// Pages in turns, each of which gets the same records at a steady rate.
pub(super) async fn run(plan: &Plan, figures: &mut Figures) -> Result<(), Failure> {
    say(&format!("page      {RATE} records/s in Chromium, {} s", plan.seconds));
    let runs = in_turns(plan.runs, &KINDS, async |kind| used(*kind, plan).await).await?;
    add(figures, "page", &KINDS, &runs, OF_PAGE);
    Ok(())
}

/// Microseconds of CPU for each record.
async fn used(kind: Kind, plan: &Plan) -> Result<[f64; 2], Failure> {
    let server = Server::start(kind, plan, 1, LINGER_MS).await?;
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
fn parse(seconds: &str, records: u32) -> Option<[f64; 2]> {
    let each = |seconds: &str| Some(seconds.parse::<f64>().ok()? / f64::from(records) * 1e6);
    let (browser, thread) = seconds.split_once(' ')?;
    Some([each(browser)?, each(thread)?])
}

/// Publishes at [`RATE`]. Gives the number of records.
async fn publish(server: &Server, seconds: u32) -> Result<u32, Failure> {
    let mut ticks = interval(Duration::from_secs(1) / TICKS);
    for _ in 0..seconds * TICKS {
        ticks.tick().await;
        server.publish((RATE / TICKS) as usize).await?;
    }
    Ok(seconds * RATE)
}

const KINDS: [Kind; 3] = [Kind::Sluicegate, Kind::Nats, Kind::NatsBehindEnvoy];
/// The second is of the thread that runs the page's code.
const OF_PAGE: [Column; 2] = [
    (": CPU of the browser for a record", "µs", Better::Less),
    (": CPU of the main thread for a record", "µs", Better::Less),
];
/// Records a second, as many at each of [`TICKS`] in a second.
const RATE: u32 = 10_000;
const TICKS: u32 = 100;
/// Enough for the records of a tick to be one batch, as they are one write to nats-server.
const LINGER_MS: u32 = 1;
/// Seconds.
const WARM_UP: u32 = 3;
