//! The cost of tables.

use super::{Cpu, Measured, median, say};

/// Snapshots of one table.
pub(crate) struct Snapshots {
    /// A bare consumer reads the same log.
    pub(crate) consumer: (Measured, Cpu),
    /// The first client, for which the log is read.
    pub(crate) first: (Measured, Cpu),
    /// Further clients.
    pub(crate) further: (Measured, Cpu),
    /// The memory that the bridge took for a key and its record.
    pub(crate) bytes_per_key: f64,
}

/// Changes that reach many sockets.
pub(crate) struct Changes {
    /// Subscriptions to the log.
    pub(crate) plain: (Measured, Cpu),
    /// Tables of it.
    pub(crate) table: (Measured, Cpu),
}

/// Prints medians, and their ratios.
pub(crate) fn table(snapshots: &[Snapshots], changes: &[Changes]) {
    say("");
    let of = |value: &dyn Fn(&Snapshots) -> f64| median(snapshots.iter().map(value));
    let (consumer, first) = (of(&|row| row.consumer.0.seconds), of(&|row| row.first.0.seconds));
    say(&format!("bare consumer, whole log          {consumer:>8.2} s"));
    say(&format!(
        "first client, until snapshot_end  {first:>8.2} s   {:.2} × of the consumer",
        first / consumer
    ));
    let rate = of(&|row| row.further.0.messages as f64 / row.further.0.seconds / 1e6);
    let cpu = of(&|row| (row.further.1.envoy + row.further.1.bridge) / row.further.0.messages as f64 * 1e9);
    say(&format!(
        "further clients, in all           {rate:>8.2} M records/s, {cpu:.0} ns of CPU each, none from Kafka"
    ));
    say(&format!("memory of a key with its record   {:>8.0} B", of(&|row| row.bytes_per_key)));
    let of = |value: &dyn Fn(&Changes) -> f64| median(changes.iter().map(value));
    let p50 = |row: &(Measured, Cpu)| row.0.latency.map_or(0.0, |(p50, _)| p50 * 1e3);
    let cpu = |row: &(Measured, Cpu)| (row.1.envoy + row.1.bridge) / row.0.messages as f64 * 1e9;
    let (plain, held) = (of(&|row| p50(&row.plain)), of(&|row| p50(&row.table)));
    say(&format!("changes, plain: p50; CPU          {plain:>8.2} ms, {:.0} ns", of(&|row| cpu(&row.plain))));
    say(&format!(
        "changes, table: p50; CPU          {held:>8.2} ms, {:.0} ns   {:.2} × of plain",
        of(&|row| cpu(&row.table)),
        held / plain
    ));
}
