//! Limits for growth.

use crate::Failure;
use crate::figures::{Figures, MIB};

/// The last window's memory against that of the one which ends the first minute.
pub(crate) fn of_memory(windows: &[Figures]) -> Result<(), Failure> {
    let [_, early, .., late] = windows else { return Err("the run was shorter than three windows".into()) };
    for (name, early, late) in [("the bridge", early.bridge, late.bridge), ("Envoy", early.envoy, late.envoy)]
    {
        let (early, late) = (early.resident_bytes, late.resident_bytes);
        if late > early / 100 * (100 + PERCENT) + SLACK {
            let (early, late) = (early / MIB, late / MIB);
            let allowed = format!("{PERCENT} % and {} MiB", SLACK / MIB);
            return Err(
                format!("the memory of {name} grew from {early} to {late} MiB, more than {allowed}").into()
            );
        }
    }
    Ok(())
}

/// Descriptors and threads against those from before all clients.
pub(crate) fn since(before: Figures, after: Figures) -> Result<(), Failure> {
    for (name, before, after) in
        [("the bridge", before.bridge, after.bridge), ("Envoy", before.envoy, after.envoy)]
    {
        let descriptors = ("descriptors", before.descriptors, after.descriptors, KEPT_CONNECTIONS);
        let threads = ("threads", before.threads, after.threads, 0);
        for (what, before, after, allowed) in [descriptors, threads] {
            if after > before + allowed {
                return Err(format!(
                    "{name} had {before} {what} before all sockets and has {after} after them"
                )
                .into());
            }
        }
    }
    Ok(())
}

const PERCENT: u64 = 10;
/// Bytes. Allocators do not give all back.
const SLACK: u64 = 8 * MIB;
/// Connections to Kafka, and between Envoy and bridge, outlive the load.
const KEPT_CONNECTIONS: u64 = 16;
