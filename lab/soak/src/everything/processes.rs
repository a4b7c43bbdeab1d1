//! Memory, descriptors and threads of gateways and bridges.

use std::collections::BTreeMap;

use sluicegate_stack::process::Usage;

use super::stacks::Stacks;
use crate::Failure;
use crate::figures::{MIB, mean};

/// Samples of each process.
#[derive(Default)]
pub(super) struct Processes {
    /// By name: the samples of this window, and the mean of each window before.
    all: BTreeMap<String, (Vec<Usage>, Vec<Usage>)>,
}

impl Processes {
    pub(super) fn sample(&mut self, stacks: &Stacks) -> Result<(), Failure> {
        for (name, usage) in stacks.usages()? {
            self.all.entry(name).or_default().0.push(usage);
        }
        Ok(())
    }

    pub(super) fn end_window(&mut self) {
        for (samples, windows) in self.all.values_mut() {
            windows.extend(mean(samples));
            samples.clear();
        }
    }

    /// The memory of each process in the last window.
    pub(super) fn latest(&self) -> String {
        let memory = self.all.iter().filter_map(|(name, (_, windows))| {
            Some(format!("{name} {} MiB", windows.last()?.resident_bytes / MIB))
        });
        memory.collect::<Vec<_>>().join(", ")
    }

    /// Fails if a process uses more in the last window than in the second: caches and allocators fill before.
    pub(super) fn check(&self) -> Result<(), Failure> {
        for (name, (_, windows)) in &self.all {
            let (Some(early), Some(late)) = (windows.get(1), windows.last()) else { continue };
            let memory = (early.resident_bytes, late.resident_bytes, SLACK + early.resident_bytes / 20);
            let descriptors = (early.descriptors, late.descriptors, CONNECTIONS);
            let threads = (early.threads, late.threads, THREADS);
            for (what, (early, late, more)) in
                [("bytes of memory", memory), ("descriptors", descriptors), ("threads", threads)]
            {
                if late > early.saturating_add(more) {
                    return Err(
                        format!("{name} had {early} {what} at the beginning, and {late} at the end").into()
                    );
                }
            }
        }
        Ok(())
    }

    /// A row for each process: its second window, and its last.
    pub(super) fn table(&self) -> String {
        let mut text =
            "| process | memory | descriptors | threads | CPU |\n|---|---|---|---|---|\n".to_owned();
        for (name, (_, windows)) in &self.all {
            let (Some(early), Some(late)) = (windows.get(1), windows.last()) else { continue };
            text += &format!(
                "| {name} | {} → {} MiB | {} → {} | {} → {} | {} s |\n",
                early.resident_bytes / MIB,
                late.resident_bytes / MIB,
                early.descriptors,
                late.descriptors,
                early.threads,
                late.threads,
                late.cpu.as_secs(),
            );
        }
        text
    }
}

/// Bytes. Allocators do not give all back.
const SLACK: u64 = 4 * MIB;
/// Clients that have just lost a connection and have another one already.
const CONNECTIONS: u64 = 16;
/// Idle threads of a bridge end after ten seconds, and come again.
const THREADS: u64 = 8;
