//! Memory: each message, all unfinished messages together, and the filter's whole linear memory are bounded.

use prost::Message;

use crate::socket::{PROFILES, Profile, Socket};
use crate::wire::{self, BINARY, FIRST, LAST, from_client};

#[test]
fn a_message_over_the_limit_closes_with_1009_before_its_payload_is_kept() {
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
fn a_message_of_exactly_the_limit_passes() {
    for profile in PROFILES {
        let vm = profile.start_with(r#", "max_message_bytes": 2048"#);
        let mut socket = Socket::open(&vm, profile);
        let request = wire::ping(1, &[1; 2039]);
        assert_eq!(request.encoded_len(), 2048);
        socket.asks(&request);
        assert_eq!(socket.requests(), [request], "{profile:?}");
    }
}

#[test]
fn two_thousand_unfinished_messages_stay_within_the_common_bound() {
    let vm = Profile::Tunnel.start_with(r#", "max_assembly_bytes": 67108864"#);
    let unfinished = from_client(FIRST, &wire::ping(1, &vec![1; UNFINISHED]).encode_to_vec()[..UNFINISHED]);
    let mut sockets: Vec<_> = (0..2_000).map(|_| Socket::open(&vm, Profile::Tunnel)).collect();
    // One after the other, so that the first ones hold all of theirs; a refused client stops sending.
    let refused: Vec<bool> = sockets
        .iter_mut()
        .map(|socket| {
            unfinished.chunks(16 * 1024).any(|chunk| {
                socket.client(chunk);
                let requests = socket.requests();
                assert!(
                    requests.iter().all(|request| wire::said_close(request) == Some(1013)),
                    "{requests:?}"
                );
                !requests.is_empty()
            })
        })
        .collect();
    let kept = refused.iter().filter(|refused| !**refused).count();
    assert!((60..=72).contains(&kept), "{kept} messages of {UNFINISHED} bytes in 64 MiB");
    assert!(vm.memory_bytes() <= MEMORY, "{} bytes of memory", vm.memory_bytes());

    let whole = wire::ping(1, &vec![1; UNFINISHED]);
    let rest = from_client(LAST, &whole.encode_to_vec()[UNFINISHED..]);
    for (socket, refused) in sockets.iter_mut().zip(refused) {
        socket.client(&rest);
        let requests = socket.requests();
        assert!(if refused { requests.is_empty() } else { requests == [whole.clone()] }, "after the rest");
    }
    drop(sockets);
    Socket::open(&vm, Profile::Tunnel).works();
    assert!(vm.memory_bytes() <= MEMORY, "{} bytes of memory", vm.memory_bytes());
}

/// All clients send at the same pace, and the bridge answers each close at once.
#[test]
fn clients_that_send_side_by_side_do_not_shut_each_other_out() {
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
    assert!(finished >= 8, "only {finished} of 400 finished in 16 MiB");
    assert!(vm.memory_bytes() <= 48 << 20, "{} bytes of memory", vm.memory_bytes());
}

#[test]
fn memory_that_does_not_grow_refuses_messages_and_not_the_worker() {
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

/// 0.9 MiB.
const UNFINISHED: usize = 943_718;

/// The bound of 64 MiB, what growing a message needs beside it, and 2,000 sessions.
const MEMORY: usize = 160 << 20;
