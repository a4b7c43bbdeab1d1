//! Members of groups, while everything is killed and restarted.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sluicegate_soak::groups::{Setup, check};
use sluicegate_stack::tools::scale;

use crate::breakable;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes: ./dev checkers"]
#[expect(clippy::print_stdout, reason = "what a failed test says")]
async fn every_group_gets_every_record_whatever_is_killed() {
    let kafka = &mut *breakable::cluster().await;
    // Each run takes another course.
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    println!("seed {seed}");
    let (members, groups, topics) = scale((24, 3, 2), (60, 6, 4));
    let (duration, calm) = scale((10, 1), (240, 20));
    let (duration, calm) = (Duration::from_secs(duration), Duration::from_secs(calm));
    let summary = check(Setup { kafka, members, groups, topics, duration, calm, seed }).await;
    println!("{summary:#?}");
    assert!(summary.delivered > summary.records && summary.kills.len() > 2, "{summary:#?}");
    assert!(summary.standstill < Duration::from_secs(15), "{summary:#?}");
}
