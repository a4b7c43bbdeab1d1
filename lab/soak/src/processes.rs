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

/// What a process may use more than before.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Of its memory.
    pub(crate) percent: u64,
    /// Of memory besides: allocators do not give all back.
    pub(crate) bytes: u64,
    pub(crate) descriptors: u64,
    pub(crate) threads: u64,
}

/// How long processes are watched, in windows whose means are compared.
pub(crate) struct Watch {
    pub(crate) duration: Duration,
    pub(crate) window: Duration,
    pub(crate) sample: Duration,
}

impl Watch {
    /// Samples the stacks until the time is over, or until something has `failed`, and prints a line for each window, which
    /// `so_far` ends.
    pub(crate) async fn run(
        &self,
        processes: &mut Processes,
        stacks: &[Stack],
        so_far: impl Fn() -> String,
        mut failed: impl AsyncFnMut() -> Failure,
    ) -> Result<(), Failure> {
        let start = Instant::now();
        for window in 1..=self.duration.as_secs().div_ceil(self.window.as_secs()).max(1) {
            let end = start + self.window.saturating_mul(u32::try_from(window)?).min(self.duration);
            while Instant::now() < end {
                processes.sample(stacks)?;
                if let Ok(failure) = timeout(self.sample, failed()).await {
                    return Err(failure);
                }
            }
            processes.end_window();
            say(&format!("{:>6} s {}; {}", start.elapsed().as_secs(), so_far(), processes.latest()));
        }
        Ok(())
    }
}

impl Processes {
    fn sample(&mut self, stacks: &[Stack]) -> Result<(), Failure> {
        for (name, usage) in usages(stacks)? {
            self.0.entry(name).or_default().0.push(usage);
        }
        Ok(())
    }

    fn end_window(&mut self) {
        for (samples, windows) in self.0.values_mut() {
            windows.extend(mean(samples));
            samples.clear();
        }
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

    pub(crate) fn check(&self, limits: Limits) -> Result<(), Failure> {
        self.changes().try_for_each(|(name, early, late)| limits.check(name, early, late))
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

impl Limits {
    /// Fails if a process uses too much more than before.
    fn check(&self, name: &str, before: &Usage, after: &Usage) -> Result<(), Failure> {
        let memory = self.bytes.saturating_add(before.resident_bytes / 100 * self.percent);
        for (what, before, after, more) in [
            ("bytes of memory", before.resident_bytes, after.resident_bytes, memory),
            ("descriptors", before.descriptors, after.descriptors, self.descriptors),
            ("threads", before.threads, after.threads, self.threads),
        ] {
            if after > before.saturating_add(more) {
                return Err(format!("{name} had {before} {what}, and has {after}").into());
            }
        }
        Ok(())
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

pub(crate) const MIB: u64 = 1 << 20;
