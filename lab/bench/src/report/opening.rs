//! The cost of opening a session.

use super::{median, say};

/// The cost of one session in microseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    /// By the clock, while others are opened too.
    pub(crate) took: f64,
    /// CPU of Envoy.
    pub(crate) envoy: f64,
    /// CPU of the bridge.
    pub(crate) bridge: f64,
}

impl Row {
    /// The median of each cost.
    pub(crate) fn median(rows: Vec<Self>) -> Self {
        let of = |cost: fn(&Self) -> f64| median(rows.iter().map(cost));
        Self { took: of(|row| row.took), envoy: of(|row| row.envoy), bridge: of(|row| row.bridge) }
    }
}

/// Prints all results, each beside the first.
pub(crate) fn table(rows: &[(&str, Row)]) {
    say("");
    say("µs of a session with a ping      time  CPU: Envoy  bridge   both");
    let both = |row: &Row| row.envoy + row.bridge;
    let first = rows.first().map(|(_, row)| both(row)).unwrap_or_default();
    for (name, row) in rows {
        let Row { took, envoy, bridge } = row;
        let ratio = both(row) / first;
        say(&format!("{name:<29} {took:>8.0}  {envoy:>10.0}  {bridge:>6.0}   {ratio:.2} ×"));
    }
}
