//! Memory, descriptors and threads of gateways and bridges, which may not grow.

use std::collections::BTreeMap;
use std::time::Duration;

use sluicegate_stack::process::Usage;
use sluicegate_stack::stack::Stack;
use sluicegate_stack::way::Way;
use tokio::time::{Instant, timeout};

use crate::{Failure, say};

/// Samples of each process, by its name: those of this window, and the mean of each window before.
#[derive(Default)]
pub(crate) struct Processes(BTreeMap<String, (Vec<Usage>, Vec<Usage>)>);

impl Processes {
    /// Samples the stacks until the time is over, or until something has `failed`, and prints a line for each window, which
    /// `so_far` ends.
    pub(crate) async fn watch(
        &mut self,
        stacks: &[Stack],
        duration: Duration,
        so_far: impl Fn() -> String,
        mut failed: impl AsyncFnMut() -> Failure,
    ) -> Result<(), Failure> {
        let start = Instant::now();
        for window in 1..=duration.as_secs().div_ceil(WINDOW.as_secs()).max(1) {
            let end = start + WINDOW.saturating_mul(u32::try_from(window)?).min(duration);
            while Instant::now() < end {
                for (name, usage) in usages(stacks)? {
                    self.0.entry(name).or_default().0.push(usage);
                }
                if let Ok(failure) = timeout(SAMPLE, failed()).await {
                    return Err(failure);
                }
            }
            for (samples, windows) in self.0.values_mut() {
                windows.extend(mean(samples));
                samples.clear();
            }
            say(&format!("{:>6} s {}; {}", start.elapsed().as_secs(), so_far(), self.latest()));
        }
        Ok(())
    }

    fn latest(&self) -> String {
        let shown = self.0.iter().filter_map(|(name, (_, windows))| {
            let Usage { resident_bytes, descriptors, threads, .. } = windows.last()?;
            Some(format!("{name} {} MiB, {descriptors} files, {threads} threads", resident_bytes / MIB))
        });
        shown.collect::<Vec<_>>().join("; ")
    }

    /// The second window of each process, and its last one: caches and allocators fill before.
    fn changes(&self) -> impl Iterator<Item = (&String, &Usage, &Usage)> {
        self.0.iter().filter_map(|(name, (_, windows))| Some((name, windows.get(1)?, windows.last()?)))
    }

    /// Fails if a process uses too much more than before.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        for (name, early, late) in self.changes() {
            let memory = MORE_BYTES + early.resident_bytes / 100 * MORE_PERCENT;
            for (what, before, after, more) in [
                ("bytes of memory", early.resident_bytes, late.resident_bytes, memory),
                ("descriptors", early.descriptors, late.descriptors, MORE_DESCRIPTORS),
                ("threads", early.threads, late.threads, MORE_THREADS),
            ] {
                if after > before + more {
                    return Err(format!("{name} had {before} {what}, and has {after}").into());
                }
            }
        }
        Ok(())
    }

    pub(crate) fn table(&self) -> String {
        let rows = self.changes().map(|(name, early, late)| {
            format!(
                "| {name} | {} → {} MiB | {} → {} | {} → {} | {} s |\n",
                early.resident_bytes / MIB,
                late.resident_bytes / MIB,
                early.descriptors,
                late.descriptors,
                early.threads,
                late.threads,
                late.cpu.as_secs(),
            )
        });
        "| process | memory | descriptors | threads | CPU |\n|---|---|---|---|---|\n".to_owned()
            + &rows.collect::<String>()
    }
}

/// The resources that all processes on the ways in take now, by their names. APISIX's emulated host is a thread of this
/// one: the memory of its filter stands for it.
fn usages(stacks: &[Stack]) -> Result<Vec<(String, Usage)>, Failure> {
    let mut usages = Vec::new();
    for stack in stacks {
        let way = stack.way().name();
        let gateway = match stack.way() {
            Way::Tunnel | Way::Relay => Some("Envoy"),
            Way::Nginx => Some("nginx"),
            Way::Apisix | Way::Direct => None,
        };
        for (name, process) in gateway.into_iter().chain(["bridge"]).zip(stack.processes()) {
            usages.push((format!("{way}: {name}"), process.usage()?));
        }
        if let Some(resident_bytes) = stack.filter_memory() {
            usages.push((format!("{way}: filter"), Usage { resident_bytes, ..Usage::default() }));
        }
    }
    Ok(usages)
}

/// The mean of samples, with the CPU of the last one.
fn mean(samples: &[Usage]) -> Option<Usage> {
    let (last, count) = (samples.last()?, u64::try_from(samples.len()).ok()?);
    let sum: Usage = samples.iter().copied().sum();
    Some(Usage {
        resident_bytes: sum.resident_bytes / count,
        descriptors: sum.descriptors / count,
        threads: sum.threads / count,
        ..*last
    })
}

/// A row of what is printed, and what a process uses at one time.
pub(crate) const WINDOW: Duration = Duration::from_secs(300);
const SAMPLE: Duration = Duration::from_secs(5);
const MIB: u64 = 1 << 20;

/// Growth that a process may have, of its memory and besides: allocators do not give all back.
const MORE_PERCENT: u64 = 5;
const MORE_BYTES: u64 = 4 * MIB;
/// Clients that have just lost a connection and have another one already.
const MORE_DESCRIPTORS: u64 = 16;
/// Idle threads of a bridge end after ten seconds, and come again.
const MORE_THREADS: u64 = 8;
