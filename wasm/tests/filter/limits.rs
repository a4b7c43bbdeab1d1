//! Bounds on what clients can take: each message, all unfinished messages together, the filter's whole linear memory,
//! and frames.

use std::time::Duration;

use prost::Message;
use sluicegate_harness::envoy::Vm;

use crate::socket::{PROFILES, Profile, Socket};
use crate::wire::{self, BINARY, FIRST, LAST, MIDDLE, PONG, from_client};

#[test]
fn oversized_message_closes_with_1009_before_it_is_buffered() {
    for profile in PROFILES {
        let vm = profile.start_with(r#", "max_message_bytes": 1000000"#);
        let mut witness = Socket::open(&vm, profile);
        let before = vm.memory_bytes();
        let too_big = |wire: &[u8]| {
            let mut socket = Socket::open(&vm, profile);
            for chunk in wire.chunks(16 * 1024) {
                socket.client(chunk);
            }
            let closes: Vec<_> = socket.requests().iter().map(wire::said_close).collect();
            assert_eq!(closes, [Some(1009)], "{profile:?}");
        };
        too_big(&from_client(BINARY, &vec![0; 16 << 20]));
        // A length that no memory holds.
        too_big(&[&[BINARY, 0xFF][..], &i64::MAX.to_be_bytes(), &[0; 4]].concat());
        assert!(vm.memory_bytes() <= before + (256 << 10), "grown to {}", vm.memory_bytes());
        too_big(&[from_client(FIRST, &[0; 600_000]), from_client(LAST, &[0; 400_001])].concat());
        assert!(vm.memory_bytes() <= before + (4 << 20), "grown to {}", vm.memory_bytes());
        witness.works();
    }
}

#[test]
fn message_of_exactly_the_limit_passes() {
    for profile in PROFILES {
        let vm = profile.start_with(r#", "max_message_bytes": 2048"#);
        let mut socket = Socket::open(&vm, profile);
        let request = wire::ping(1, &[1; 2039]);
        assert_eq!(request.encoded_len(), 2048);
        socket.asks(&request);
        assert_eq!(socket.requests(), [request], "{profile:?}");
    }
}

/// All from one address, whose share is an eighth of 64 MiB; one after the other, so that the last ones hold all of
/// theirs.
#[test]
fn unfinished_messages_of_one_address_stay_within_its_share() {
    let vm = Profile::Tunnel.start();
    let whole = wire::ping(1, &vec![1; UNFINISHED]);
    let message = whole.encode_to_vec();
    let (unfinished, rest) =
        (from_client(FIRST, &message[..UNFINISHED]), from_client(LAST, &message[UNFINISHED..]));
    let mut sockets: Vec<_> = (0..2_000).map(|_| Socket::open(&vm, Profile::Tunnel)).collect();
    for socket in &mut sockets {
        for chunk in unfinished.chunks(16 * 1024) {
            socket.client(chunk);
        }
        assert_eq!(socket.requests(), []);
    }
    assert!(vm.memory_bytes() <= MEMORY, "{} bytes of memory", vm.memory_bytes());
    let finished = sockets.iter_mut().map(|socket| {
        socket.client(&rest);
        match &socket.requests()[..] {
            [request] if *request == whole => true,
            [request] if wire::said_close(request) == Some(1013) => false,
            other => panic!("{other:?}"),
        }
    });
    let finished: Vec<bool> = finished.collect();
    let oldest = finished.iter().position(|finished| *finished).unwrap();
    assert_eq!(finished.len() - oldest, 8, "as many as fit 8 MiB");
    assert!(finished[oldest..].iter().all(|finished| *finished), "the youngest are finished");
    drop(sockets);
    Socket::open(&vm, Profile::Tunnel).works();
    assert!(vm.memory_bytes() <= MEMORY, "{} bytes of memory", vm.memory_bytes());
}

/// All clients of one address send at the same pace, and the bridge answers each close at once.
#[test]
fn clients_that_send_at_once_do_not_all_lose() {
    let vm = Profile::Tunnel.start_with(r#", "max_assembly_bytes": 16777216"#);
    let whole = wire::ping(1, &vec![1; UNFINISHED]);
    let message = whole.encode_to_vec();
    let wire =
        [from_client(FIRST, &message[..UNFINISHED]), from_client(LAST, &message[UNFINISHED..])].concat();
    let mut sockets: Vec<_> = (0..400).map(|_| Some(Socket::open(&vm, Profile::Tunnel))).collect();
    let (mut finished, mut refused) = (0, 0);
    for chunk in wire.chunks(16 * 1024) {
        for slot in &mut sockets {
            let Some(socket) = slot else { continue };
            socket.client(chunk);
            let requests = socket.requests();
            if requests.iter().any(|request| wire::said_close(request) == Some(1013)) {
                refused += 1;
                *slot = None;
            } else if requests == [whole.clone()] {
                finished += 1;
            }
        }
    }
    assert_eq!(finished + refused, 400);
    assert!(finished >= 1, "none of 400 finished in a share of 2 MiB");
    assert!(vm.memory_bytes() <= 48 << 20, "{} bytes of memory", vm.memory_bytes());
}

/// Clients of eight other addresses take all they can get; one that comes later, and slowly, loses nothing to them.
#[test]
fn newcomer_loses_nothing_to_addresses_that_hold_all() {
    let check = |attack: fn(&Vm, &mut Vec<Socket>, &[u8])| {
        let vm = Profile::Tunnel.start();
        let mut attackers = Vec::new();
        for address in 1..=9 {
            vm.set_property("source\0address", format!("192.0.2.{address}:4711"));
            attackers.extend((0..20).map(|_| Socket::open(&vm, Profile::Tunnel)));
        }
        vm.set_property("source\0address", "198.51.100.1:4711");
        let mut newcomer = Socket::open(&vm, Profile::Tunnel);
        let held = from_client(FIRST, &[1; 600_000]);
        for attacker in &mut attackers {
            attacker.client(&held);
        }
        let request = wire::ping(1, &[1; 256 << 10]);
        let message = request.encode_to_vec();
        for (at, part) in message.chunks(message.len().div_ceil(4)).enumerate() {
            let first = [FIRST, MIDDLE, MIDDLE, LAST][at];
            newcomer.client(from_client(first, part));
            attack(&vm, &mut attackers, &held);
        }
        assert_eq!(newcomer.requests(), [request]);
        assert!(vm.memory_bytes() <= MEMORY, "{} bytes of memory", vm.memory_bytes());
    };
    // They stall.
    check(|_, _, _| {});
    // They drip.
    check(|_, attackers, _| {
        for attacker in attackers {
            attacker.client(from_client(MIDDLE, b"x"));
        }
    });
    // They begin anew.
    check(|vm, attackers, held| {
        for address in 1..=9 {
            vm.set_property("source\0address", format!("192.0.2.{address}:4711"));
            attackers.extend((0..20).map(|_| Socket::open(vm, Profile::Tunnel)));
        }
        let fresh = attackers.len() - 180;
        for attacker in &mut attackers[fresh..] {
            attacker.client(held);
        }
    });
}

#[test]
fn exhausted_memory_closes_sessions_and_not_the_worker() {
    let check = |profile: Profile, left: usize, chunk: usize| {
        let vm = profile.start();
        let mut witness = Socket::open(&vm, profile);
        let mut sockets: Vec<_> = (0..60).map(|_| Socket::open(&vm, profile)).collect();
        vm.limit_memory(vm.memory_bytes() + left);
        let unfinished = from_client(FIRST, &vec![1; UNFINISHED]);
        let mut closes = Vec::new();
        for chunk in unfinished.chunks(chunk) {
            for socket in &mut sockets {
                socket.client(chunk);
                closes.extend(socket.requests().iter().map(wire::said_close));
            }
        }
        let said = format!("{profile:?}, {left} bytes left, chunks of {chunk}: {closes:?}");
        assert!(closes.len() > 40 && closes.iter().all(|close| *close == Some(1013)), "{said}");
        witness.works();
        drop(sockets);
        Socket::open(&vm, profile).works();
    };
    for profile in PROFILES {
        check(profile, 256 << 10, 1024);
        check(profile, 256 << 10, 100_000);
        check(profile, 1 << 20, 16 * 1024);
        check(profile, 8 << 20, 16 * 1024);
    }
}

/// A gateway hands over all bytes that have arrived on a connection, here of tiny frames, and serves nobody else
/// meanwhile.
#[test]
fn frames_of_one_address_leave_some_of_each_tick_to_others() {
    for profile in PROFILES {
        let vm = profile.start();
        let open = |address: &str| {
            vm.set_property("source\0address", format!("{address}:4711"));
            Socket::open(&vm, profile)
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
}

/// 0.9 MiB.
const UNFINISHED: usize = 943_718;

/// The bound of 64 MiB, what growing a message needs beside it, and 2,000 sessions.
const MEMORY: usize = 160 << 20;
