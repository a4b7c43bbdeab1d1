//! Bounds on what clients can take: each message, all unfinished messages together, the filter's whole linear memory,
//! and frames.

use std::time::Duration;

use sluicegate_harness::envoy::Outcome;

use crate::socket::{Socket, start, start_with, upgrade};
use crate::wire::{self, BINARY, FIRST, LAST, PONG, from_client};

#[test]
fn oversized_message_closes_with_1009_before_it_is_buffered() {
    let vm = start_with(r#", "max_message_bytes": 1000000"#);
    let Outcome::Forwarded(headers) = vm.request(upgrade()).outcome() else { panic!("refused") };
    assert_eq!(headers.text("x-sluicegate-max-message-bytes"), Some("1000000"));
    let mut witness = Socket::open(&vm);
    let before = vm.memory_bytes();
    let too_big = |wire: &[u8]| {
        let mut socket = Socket::open(&vm);
        for chunk in wire.chunks(16 * 1024) {
            socket.client(chunk);
        }
        let closes: Vec<_> = socket.requests().iter().map(wire::said_close).collect();
        assert_eq!(closes, [Some(1009)]);
    };
    too_big(&from_client(BINARY, &vec![0; 16 << 20]));
    // A length that no memory holds.
    too_big(&[&[BINARY, 0xFF][..], &i64::MAX.to_be_bytes(), &[0; 4]].concat());
    assert!(vm.memory_bytes() <= before + (256 << 10), "grown to {}", vm.memory_bytes());
    too_big(&[from_client(FIRST, &[0; 600_000]), from_client(LAST, &[0; 400_001])].concat());
    assert!(vm.memory_bytes() <= before + (4 << 20), "grown to {}", vm.memory_bytes());
    witness.works();
}

#[test]
fn exhausted_memory_closes_sessions_and_not_the_worker() {
    let check = |left: usize, chunk: usize| {
        let vm = start();
        let mut witness = Socket::open(&vm);
        let mut sockets: Vec<_> = (0..60).map(|_| Socket::open(&vm)).collect();
        vm.limit_memory(vm.memory_bytes() + left);
        let unfinished = from_client(FIRST, &vec![1; UNFINISHED]);
        let mut closes = Vec::new();
        for chunk in unfinished.chunks(chunk) {
            for socket in &mut sockets {
                socket.client(chunk);
                closes.extend(socket.requests().iter().map(wire::said_close));
            }
        }
        let said = format!("{left} bytes left, chunks of {chunk}: {closes:?}");
        assert!(closes.len() > 40 && closes.iter().all(|close| *close == Some(1013)), "{said}");
        witness.works();
        drop(sockets);
        Socket::open(&vm).works();
    };
    check(256 << 10, 1024);
    check(256 << 10, 100_000);
    check(1 << 20, 16 * 1024);
    check(8 << 20, 16 * 1024);
}

/// A gateway hands over all bytes that have arrived on a connection, here of tiny frames, and serves nobody else
/// meanwhile.
#[test]
fn frames_of_one_address_leave_some_of_each_tick_to_others() {
    let vm = start();
    let open = |address: &str| {
        vm.set_property("source\0address", format!("{address}:4711"));
        Socket::open(&vm)
    };
    let (mut bystander, mut neighbour) = (open("198.51.100.1"), open("192.0.2.1"));
    let mut attackers: Vec<_> = (0..20).map(|_| open("192.0.2.1")).collect();
    let many = from_client(PONG, b"").repeat(40_000);
    let mut is_closed = |attacker: &mut Socket| {
        attacker.client(&many);
        let said = attacker.requests().last().and_then(wire::said_close);
        assert!(matches!(said, None | Some(1013)), "{said:?}");
        said.is_some()
    };
    let closed: Vec<bool> = attackers.iter_mut().map(&mut is_closed).collect();
    assert_eq!(closed.iter().filter(|closed| !**closed).count(), 4, "{closed:?}");
    assert!(closed.is_sorted(), "the first ones have sent their frames");
    neighbour.works();
    bystander.client(from_client(PONG, b"").repeat(1_000));
    bystander.requests();
    bystander.works();
    vm.advance(Duration::from_millis(100));
    assert!(!is_closed(&mut neighbour), "a tick has passed");
}

/// 0.9 MiB.
const UNFINISHED: usize = 943_718;
