//! The cost of a record that is delivered.

use super::opening::Row;
use super::say;

/// Prints all results in nanoseconds, each beside the first.
pub(crate) fn table(rows: &[(&str, Row)]) {
    say("");
    say("ns of a delivered record          time  CPU: Envoy  bridge   both  bridge alone");
    let both = |row: &Row| row.envoy + row.bridge;
    let first = rows.first().map(|(_, row)| *row);
    for (name, row) in rows {
        let Row { took, envoy, bridge } = row;
        let of = |cost: &dyn Fn(&Row) -> f64| first.as_ref().map_or(1.0, |first| cost(row) / cost(first));
        let (ratio, alone) = (of(&both), of(&|row| row.bridge));
        say(&format!("{name:<29} {took:>8.0}  {envoy:>10.0}  {bridge:>6.0}   {ratio:.2} ×  {alone:.2} ×"));
    }
}
