//! Requests above the size limit are refused and cost no memory.

use std::time::{Duration, Instant};

use sluicegate_tests::directly;
use sluicegate_tests::in_both_profiles;
use sluicegate_tests::process::Process;
use sluicegate_tests::raw::{BINARY, FIN, Raw, close, head, masked};
use sluicegate_tests::through_the_relay;
use sluicegate_tests::way::Way;

use crate::peer::{Peer, ping, pong};
use crate::stacks::{CONFIGURED_LIMIT, alone, configured};

async fn request_over_the_limit_closes_with_1009(way: Way) {
    let stack = configured(way).await;
    let overhead = ping(7, &[b's'; CONFIGURED_LIMIT]).len() - CONFIGURED_LIMIT;
    let state = vec![b's'; CONFIGURED_LIMIT - overhead];
    let largest = ping(7, &state);
    assert_eq!(largest.len(), CONFIGURED_LIMIT);
    let told = close(1009, &format!("message over the limit of {CONFIGURED_LIMIT} bytes"));
    let mut raw = Raw::open(stack.gateway()).await;
    raw.write(masked(BINARY, &largest)).await;
    assert_eq!(raw.answer().await, pong(7, &state));
    raw.write(head(BINARY, 0x80, CONFIGURED_LIMIT as u64 + 1)).await;
    raw.write([0; 4]).await;
    raw.is_closed(&told, "a header alone").await;
    let mut raw = Raw::open(stack.gateway()).await;
    raw.write([masked(BINARY & !FIN, &largest), masked(0, b"x")].concat()).await;
    raw.is_closed(&told, "fragments").await;
}

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

through_the_relay! {
    request_over_the_limit_closes_with_1009
}

in_both_profiles! {
    request_over_the_limit_closes_with_1009
    bytes_over_the_limit_are_not_kept
}

directly! {
    request_over_the_limit_closes_with_1009
    bytes_over_the_limit_are_not_kept
}
