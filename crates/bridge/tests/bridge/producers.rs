//! Producers of configured clusters are created in the background at start.

use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::{Instant, timeout};

use crate::support::start_before;

/// No time passes but where something is waited for.
#[tokio::test(start_paused = true)]
async fn start_connects_for_writing_and_waits_for_no_broker() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let before = Instant::now();
    let _bridge = start_before(silent.local_addr().unwrap(), "", "[write]\nclusters = [\"default\"]\n").await;
    assert_eq!(before.elapsed(), Duration::ZERO);
    timeout(Duration::from_secs(60), silent.accept()).await.expect("a connection").unwrap();
}
