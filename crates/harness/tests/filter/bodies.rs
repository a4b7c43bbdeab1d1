//! Bodies of plain HTTP requests: put together however they come, and bounded.

use sluicegate_harness::{Outcome, Stream, Vm};

use crate::plain::{answer, call, post, posted, request, told, works};
use crate::socket::{PROFILES, Profile, Socket, answered};
use crate::wire::{self, FIRST, from_client};

const TOO_LARGE: &str = "a body of at most 2048 bytes is expected";
const NO_ROOM: &str = "the gateway has no room for another request, try again";

fn small() -> Vm {
    Profile::Tunnel
        .start_with(r#", "max_message_bytes": 2048, "max_body_bytes": 2048, "max_assembly_bytes": 8704"#)
}

#[track_caller]
fn reaches_the_bridge(vm: &Vm, stream: &Stream, body: &[u8]) {
    assert!(call(vm).1.body == body, "other bytes");
    answer(vm, 200, &[], "ok");
    assert_eq!(answered(stream).text(), "ok");
}

#[test]
fn a_body_cut_at_any_byte_is_the_same_body() {
    let body: Vec<u8> = (0..=255).collect();
    for profile in PROFILES {
        let vm = profile.start();
        for cut in 0..=body.len() {
            let mut stream = vm.request(post("/orders"));
            stream.client_sends_split(&body, &[cut]);
            stream.client_ends();
            reaches_the_bridge(&vm, &stream, &body);
        }
        let mut stream = vm.request(post("/orders"));
        for byte in &body {
            stream.client_sends([*byte]);
        }
        stream.client_ends();
        reaches_the_bridge(&vm, &stream, &body);
    }
}

#[test]
fn a_body_beyond_the_hosts_own_buffer_flows_in_chunks_of_any_size() {
    let body: Vec<u8> = (0..(1_u32 << 20)).map(|at| (at % 251) as u8).collect();
    for size in [16 << 10, (256 << 10) - 1, 256 << 10, (256 << 10) + 1, 1 << 20] {
        let vm = Profile::Tunnel.start();
        let mut stream = vm.request(post("/orders"));
        for chunk in body.chunks(size) {
            stream.client_sends(chunk);
            assert_eq!(stream.held_bytes(), (0, 0));
        }
        stream.client_ends();
        reaches_the_bridge(&vm, &stream, &body);
    }
}

#[test]
fn a_body_of_the_limit_passes_and_one_byte_more_does_not_however_it_comes() {
    let vm = small();
    for size in [1, 7, 1024, 2047, 2048, 2049] {
        let mut stream = vm.request(post("/orders"));
        for chunk in [1; 2048].chunks(size) {
            stream.client_sends(chunk);
        }
        assert_eq!(stream.outcome(), Outcome::Waiting, "in chunks of {size}");
        stream.client_ends();
        reaches_the_bridge(&vm, &stream, &[1; 2048]);

        let mut stream = vm.request(post("/orders"));
        for chunk in [1; 2049].chunks(size) {
            stream.client_sends(chunk);
        }
        told(&stream, 413, TOO_LARGE);
        assert_eq!(vm.grpc_calls().len(), 0, "in chunks of {size}");
    }
}

#[test]
fn a_length_over_the_limit_is_refused_before_its_body() {
    let vm = small();
    let announced = |length: &str| vm.request(request("POST", "/orders").with("content-length", length));
    for length in ["2049", "16777216", "18446744073709551615", "99999999999999999999999"] {
        told(&announced(length), 413, TOO_LARGE);
    }
    assert_eq!(announced("2048").outcome(), Outcome::Waiting);
    // A length that lies, which no codec lets through, gains nothing.
    let mut stream = announced("1");
    stream.client_sends([0; 2049]);
    told(&stream, 413, TOO_LARGE);
    works(&vm);
}

#[test]
fn bodies_that_have_no_room_are_told_when_to_come_back_and_room_is_given_back() {
    let vm = small();
    let mut streams: Vec<_> = (0..10).map(|_| vm.request(post("/orders"))).collect();
    for stream in &mut streams {
        stream.client_sends([1; 2048]);
    }
    let (kept, refused) = streams.split_at_mut(4);
    for stream in refused {
        told(stream, 503, NO_ROOM);
        assert_eq!(answered(stream).headers.text("retry-after"), Some("1"));
    }
    assert_eq!(vm.metric("sluicegate.errors.out_of_memory"), Some(6));
    // Given back by a call, whose answer is still to come...
    kept[0].client_ends();
    let mut next = vm.request(post("/orders"));
    next.client_sends([1; 2048]);
    assert_eq!(next.outcome(), Outcome::Waiting);
    // ...by a client that goes away, and by a body that is too large.
    kept[1].client_resets();
    kept[2].client_sends([1]);
    told(&kept[2], 413, TOO_LARGE);
    for _ in 0..2 {
        let mut next = vm.request(post("/orders"));
        next.client_sends([1; 2048]);
        assert_eq!(next.outcome(), Outcome::Waiting);
    }
    assert_eq!(vm.grpc_calls().len(), 1);
}

#[test]
fn the_headers_of_requests_whose_bodies_are_to_come_need_room_too() {
    let vm = small();
    let with_headers = || vm.request(post("/orders").with("r-a", [b'a'; 4000]));
    let streams: Vec<_> = (0..3).map(|_| with_headers()).collect();
    assert_eq!(streams[1].outcome(), Outcome::Waiting);
    told(&streams[2], 503, NO_ROOM);
    drop(streams);
    assert_eq!(with_headers().outcome(), Outcome::Waiting);
}

#[test]
fn sessions_and_bodies_share_one_bound() {
    let vm = small();
    let mut sockets: Vec<_> = (0..4).map(|_| Socket::open(&vm, Profile::Tunnel)).collect();
    for socket in &mut sockets {
        socket.client(&from_client(FIRST, &[0; 2048])[..]);
        assert_eq!(socket.requests(), []);
    }
    told(&posted(&vm, "/orders", [0; 512]), 503, NO_ROOM);
    drop(sockets);
    works(&vm);
    let mut bodies: Vec<_> = (0..4).map(|_| vm.request(post("/orders"))).collect();
    for body in &mut bodies {
        body.client_sends([0; 2048]);
    }
    let mut socket = Socket::open(&vm, Profile::Tunnel);
    socket.client(from_client(FIRST, &[0; 512]));
    assert_eq!(socket.requests().iter().map(wire::said_close).collect::<Vec<_>>(), [Some(1013)]);
}

#[test]
fn memory_that_does_not_grow_refuses_bodies_and_not_the_worker() {
    for (left, chunk) in [(256 << 10, 1024), (256 << 10, 100_000), (1 << 20, 16 << 10), (8 << 20, 16 << 10)] {
        let vm = Profile::Tunnel.start();
        let mut witness = Socket::open(&vm, Profile::Tunnel);
        let mut streams: Vec<_> = (0..40).map(|_| vm.request(post("/orders"))).collect();
        vm.limit_memory(vm.memory_bytes() + left);
        for chunk in vec![1; 943_718].chunks(chunk) {
            for stream in &mut streams {
                stream.client_sends(chunk);
            }
        }
        for stream in &mut streams {
            stream.client_ends();
        }
        // Where there is not even memory for a chunk, a stream is reset.
        let refused = streams.iter().filter(|stream| stream.is_finished()).count();
        assert!(refused > 20, "{refused} of 40 refused with {left} bytes left, in chunks of {chunk}");
        assert!(vm.grpc_calls().len() + refused == 40);
        drop(streams);
        for call in vm.grpc_calls() {
            vm.fail_grpc_call(call.token, 1, "");
        }
        witness.works();
        works(&vm);
    }
}

#[test]
fn two_thousand_unfinished_bodies_stay_within_the_common_bound() {
    let vm = Profile::Tunnel.start();
    let mut streams: Vec<_> = (0..2_000).map(|_| vm.request(post("/orders"))).collect();
    let body = vec![1; 943_718];
    for stream in &mut streams {
        for chunk in body.chunks(64 << 10) {
            stream.client_sends(chunk);
        }
    }
    let kept = streams.iter().filter(|stream| stream.outcome() == Outcome::Waiting).count();
    assert!((60..=72).contains(&kept), "{kept} bodies of {} bytes in 64 MiB", body.len());
    assert!(vm.memory_bytes() <= 160 << 20, "{} bytes of memory", vm.memory_bytes());
    drop(streams);
    works(&vm);
}
