//! Each way in, with up to six kinds of clients, for hours: identities expire, and each client notices five seconds without a
//! record.
//!
//! 1. `stacks`: Kafka, NATS, and for each way in a gateway, if it has one, with a bridge
//! 2. `writers`: numbered records, each way
//! 3. `readers`: the kinds of clients; `probe`: what each of them expects
//! 4. here: runs all of them, and reports

mod identity;
mod probe;
mod readers;
mod stacks;
mod writers;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sluicegate_stack::process::allow_many_files;
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::probe::Counts;
use self::readers::Reader;
use self::stacks::Stacks;
use crate::processes::{Processes, WINDOW};
use crate::{Failure, say};

/// Fails if a client gets no record for five seconds, misses or repeats one, or if a process grows. Writes a report in
/// Markdown to the file `report`.
#[tokio::main]
pub async fn soak(duration: Duration, report: Option<&Path>) -> Result<(), Failure> {
    if duration < WINDOW * 3 {
        return Err(format!("expected at least {} seconds", WINDOW.as_secs() * 3).into());
    }
    allow_many_files()?;
    let stacks = Stacks::start().await?;
    let mut tasks = JoinSet::new();
    for (partition, gateway) in (0..).zip(stacks.gateways()) {
        tasks.spawn(writers::write(gateway.clone(), partition));
    }
    let mut counts = AllCounts::new();
    for gateway in stacks.gateways() {
        for (kind, name, readers) in readers::of_gateway(&gateway) {
            let of_kind = Arc::<Counts>::default();
            counts.insert((gateway.way.name(), name), (readers, Arc::clone(&of_kind)));
            for number in 0..readers {
                tasks.spawn(Reader::new(&gateway, kind, number, &of_kind).run());
            }
        }
    }
    let (start, mut processes) = (Instant::now(), Processes::default());
    let read = || format!("{:>12} records", records(&counts));
    let failed = async || match tasks.join_next().await {
        None => "nobody runs".into(),
        Some(ended) => ended.unwrap_or_else(|panic| panic.to_string().into()),
    };
    let watched = processes.watch(&stacks.stacks, duration, read, failed).await;
    let text = describe(start.elapsed(), &counts, &processes);
    say(&text);
    watched?;
    if let Some(path) = report {
        std::fs::write(path, text)?;
    }
    processes.check()
}

type AllCounts<'a> = BTreeMap<(&'a str, &'a str), (usize, Arc<Counts>)>;

fn records(counts: &AllCounts<'_>) -> u64 {
    counts.values().map(|(_, counts)| counts.records.load(Ordering::Relaxed)).sum()
}

fn describe(elapsed: Duration, counts: &AllCounts<'_>, processes: &Processes) -> String {
    let mut text = "| way in | clients | number | records | connections | latest record |\n".to_owned();
    text += "|---|---|---|---|---|---|\n";
    for ((way, kind), (readers, counts)) in counts {
        let Counts { records, connections, latest_ms } = &**counts;
        let [records, connections, longest] =
            [records, connections, latest_ms].map(|count| count.load(Ordering::Relaxed));
        text += &format!("| {way} | {kind} | {readers} | {records} | {connections} | {longest} ms |\n");
    }
    let per_second = records(counts) / elapsed.as_secs().max(1);
    text += &format!("\n{} s, {per_second} records a second.\n\n{}", elapsed.as_secs(), processes.table());
    text
}
