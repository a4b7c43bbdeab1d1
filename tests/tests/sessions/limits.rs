//! A request has a largest size, and what is over it costs no memory.

use std::time::{Duration, Instant};

use sluicegate_tests::in_every_way;
use sluicegate_tests::process::Process;
use sluicegate_tests::way::Way;

use crate::peer::{Peer, ping, pong};
use crate::raw::{BINARY, FIN, Raw, TEXT, close, head, masked};
use crate::stacks::{CONFIGURED_LIMIT, alone, committed, configured};

async fn a_request_of_the_limit_is_answered_and_one_byte_more_is_closed_with_1009(way: Way) {
    for (stack, limit) in [(committed(way).await, 1 << 20), (configured(way).await, CONFIGURED_LIMIT)] {
        let state = vec![b's'; limit - ping(7, &vec![b's'; limit - 100]).len() + limit - 100];
        let largest = ping(7, &state);
        assert_eq!(largest.len(), limit);
        let mut raw = Raw::open(&stack).await;
        raw.write(&masked(BINARY, &largest)).await;
        assert!(raw.answer().await == pong(7, &state), "a request of {limit} bytes");
        // The same in fragments.
        let (start, end) = largest.split_at(limit / 3);
        raw.write(&[masked(BINARY & !FIN, start), masked(0, b""), masked(FIN, end)].concat()).await;
        assert!(raw.answer().await == pong(7, &state), "fragments of {limit} bytes");

        let told = close(1009, &format!("message over the limit of {limit} bytes"));
        raw.write(&masked(BINARY, &[&largest[..], b"x"].concat())).await;
        raw.is_closed(&told, "a byte over the limit").await;
        for (what, bytes) in [
            ("a header alone", [head(BINARY, 0x80, limit as u64 + 1), vec![0; 4]].concat()),
            ("the largest length", [head(BINARY, 0x80, (1 << 63) - 1), vec![0; 4]].concat()),
            ("a text", [head(TEXT, 0x80, limit as u64 + 1), vec![0; 4]].concat()),
            ("fragments", [masked(BINARY & !FIN, &largest), masked(0, b"x")].concat()),
        ] {
            let mut raw = Raw::open(&stack).await;
            raw.write(&bytes).await;
            raw.is_closed(&told, what).await;
        }
    }
}

async fn what_follows_a_message_over_the_limit_is_kept_by_nobody(way: Way) {
    let stack = alone(way).await;
    let mut bystander = Peer::open(&stack).await;
    bystander.is_idle().await;
    let resident = |process: &Process| process.usage().unwrap().resident_bytes;
    let before: Vec<u64> = stack.processes().map(resident).collect();
    let chunk = vec![0; 1 << 20];
    for _ in 0..8 {
        let mut raw = Raw::open(&stack).await;
        raw.write(&[head(BINARY, 0x80, 1 << 40), vec![0; 4]].concat()).await;
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

in_every_way! {
    a_request_of_the_limit_is_answered_and_one_byte_more_is_closed_with_1009
    what_follows_a_message_over_the_limit_is_kept_by_nobody
}
