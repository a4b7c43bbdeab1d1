//! A rolling restart of two bridges behind one Envoy.

use std::time::Duration;

use sluicegate_soak::live::rolling::{Load, roll};

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stdout, reason = "a measurement, for `--nocapture`")]
async fn rolling_restart_loses_and_repeats_no_record() {
    let rolled = roll(Load { subscribers: 300, producers: 20 }).await;
    println!("{rolled}");
    assert!(rolled.acknowledged > 1_000 && rolled.delivered > rolled.acknowledged, "{rolled}");
    // A bridge tells a thousand clients a second to go, in random order.
    for ends in &rolled.ends {
        assert!(ends.len() > 20 && ends.iter().all(|end| *end < Duration::from_secs(10)), "{rolled}");
    }
    assert!(rolled.away < Duration::from_secs(15), "{rolled}");
}
