//! A request has a largest size, and what is over it costs no memory.

use sluicegate_tests::envoy::Profile;
use sluicegate_tests::in_both_profiles;

use crate::peer::{Peer, ping, pong};
use crate::raw::{BINARY, FIN, Raw, TEXT, close, head, masked};
use crate::stacks::{CONFIGURED_LIMIT, alone, committed, configured};

async fn a_request_of_the_limit_is_answered_and_one_byte_more_is_closed_with_1009(profile: Profile) {
    for (stack, limit) in [(committed(profile).await, 1 << 20), (configured(profile).await, CONFIGURED_LIMIT)]
    {
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

async fn what_follows_a_message_over_the_limit_is_kept_by_nobody(profile: Profile) {
    let stack = alone(profile).await;
    let mut bystander = Peer::open(&stack).await;
    bystander.is_idle().await;
    let resident = || {
        let usage = [&stack.envoy().process, &stack.bridge.process].map(|process| process.usage().unwrap());
        usage.map(|usage| usage.resident_bytes)
    };
    let before = resident();
    let chunk = vec![0; 1 << 20];
    for _ in 0..8 {
        let mut raw = Raw::open(&stack).await;
        raw.write(&[head(BINARY, 0x80, 1 << 40), vec![0; 4]].concat()).await;
        assert_eq!(raw.frame().await, close(1009, "message over the limit of 1048576 bytes"));
        let mut taken = 0;
        while raw.try_write(&chunk).await {
            taken += 1;
            assert!(taken < 1024, "a client that was closed sent 1 GiB more");
        }
    }
    for (part, (before, after)) in ["Envoy", "the bridge"].iter().zip(before.iter().zip(resident())) {
        let grown = after.saturating_sub(*before) >> 20;
        assert!(grown < 32, "{part} grew by {grown} MiB");
    }
    bystander.is_idle().await;
}

in_both_profiles! {
    a_request_of_the_limit_is_answered_and_one_byte_more_is_closed_with_1009
    what_follows_a_message_over_the_limit_is_kept_by_nobody
}
