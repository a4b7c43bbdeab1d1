//! Readings of the gates.

use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

/// The time between two readings.
pub(super) fn ticks() -> Interval {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}

/// A gate's reading: water rises and falls by about a metre in two minutes.
pub(super) fn reading_of(gate: &str, reading: u32) -> String {
    let phase = f64::from(reading) / 16.0 + f64::from(u8::try_from(gate.len()).unwrap_or(0));
    let level_cm = 210.0 + 50.0 * phase.sin();
    let open_percent = 50.0 + 50.0 * phase.cos();
    format!(
        r#"{{"gate":"{gate}","reading":{reading},"level_cm":{level_cm:.0},"open_percent":{open_percent:.0}}}"#
    )
}

/// The gates.
pub(super) const GATES: [&str; 3] = ["north", "middle", "southern"];
const EVERY: Duration = Duration::from_millis(350);
