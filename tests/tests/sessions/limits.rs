//! Requests over the size limit cost no memory.

use std::time::{Duration, Instant};

use sluicegate_tests::in_every_profile;
use sluicegate_tests::process::Process;
use sluicegate_tests::raw::{BINARY, Raw, close, head};
use sluicegate_tests::way::Way;

use crate::peer::Peer;
use crate::stacks::alone;

async fn bytes_over_the_limit_are_not_kept(way: Way) {
    let stack = alone(way).await;
    let mut bystander = Peer::open(&stack).await;
    bystander.is_idle().await;
    let resident = |process: &Process| process.usage().unwrap().resident_bytes;
    let before: Vec<u64> = stack.processes().map(resident).collect();
    let chunk = vec![0; 1 << 20];
    for _ in 0..8 {
        let mut raw = Raw::open(stack.gateway()).await;
        raw.write([head(BINARY, 0x80, 1 << 40), vec![0; 4]].concat()).await;
        assert_eq!(raw.frame().await, close(1009, "message over the limit of 1048576 bytes"));
        let told = Instant::now();
        while raw.try_write(&chunk).await {
            assert!(told.elapsed() < Duration::from_secs(10), "a client that was closed goes on sending");
        }
    }
    for (process, before) in stack.processes().zip(before) {
        let grown = resident(process).saturating_sub(before) >> 20;
        assert!(grown < 32, "the process of {} grew by {grown} MiB", process.log().display());
    }
    bystander.is_idle().await;
}

in_every_profile! {
    bytes_over_the_limit_are_not_kept
}
