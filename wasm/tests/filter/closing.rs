//! A session that is over ends in bounded time, whatever the bridge does.

use std::time::Duration;

use sluicegate_harness::envoy::{Outcome, Vm};
use sluicegate_protocol::Close;
use sluicegate_protocol::control_resp::Control as ToSay;

use crate::socket::{Socket, start};
use crate::wire;

/// A way in which a session comes to its end.
type Ending = fn(&mut Socket);

const ENDINGS: [(&str, Ending); 5] = [
    ("the client closes", |socket| socket.client(wire::close(1000, "done"))),
    ("the client breaks RFC 6455", |socket| socket.client(wire::to_client(wire::BINARY, b"unmasked"))),
    ("the client sends too much", |socket| {
        socket.client(&wire::from_client(wire::FIRST, &[0; 2 << 20])[..20])
    }),
    ("the bridge closes", |socket| {
        let close = Close { code: 1001, reason: "drain".into() };
        socket.bridge(wire::to_say(ToSay::Close(close)));
    }),
    ("the bridge breaks gRPC", |socket| socket.bridge([1; 7])),
];

#[track_caller]
fn check(test: impl Fn(&Vm, Socket)) {
    let vm = start();
    for (name, ending) in ENDINGS {
        let mut witness = Socket::open(&vm);
        // Ticks come at half seconds of this clock: none of the ends falls on one.
        vm.advance(Duration::from_millis(130));
        let mut socket = Socket::open(&vm);
        ending(&mut socket);
        assert!(matches!(socket.0.outcome(), Outcome::Forwarded(_)), "{name}: ended at once");
        test(&vm, socket);
        witness.works();
        assert!(!witness.0.is_finished(), "{name}");
    }
}

#[test]
fn closed_session_is_reset_if_the_bridge_does_not_end_it() {
    check(|vm, socket| {
        vm.advance(Duration::from_millis(1_950));
        assert!(!socket.0.is_reset(), "reset too early");
        vm.advance(Duration::from_millis(550));
        assert!(socket.0.is_reset(), "not reset after 2.5 s");
    });
}

#[test]
fn closed_session_that_the_bridge_ends_is_not_reset() {
    check(|vm, mut socket| {
        vm.advance(Duration::from_millis(1_000));
        let close = Close { code: 1000, reason: "done".into() };
        socket.0.upstream_sends(wire::to_say(ToSay::Close(close)), true);
        assert!(socket.0.is_finished() && !socket.0.is_reset());
        vm.advance(Duration::from_secs(5));
        assert!(!socket.0.is_reset());
    });
}

#[test]
fn thousand_closed_sessions_are_reset_in_time() {
    let vm = start();
    let mut sockets: Vec<_> = (0..1_000).map(|_| Socket::open(&vm)).collect();
    for socket in &mut sockets {
        socket.client(wire::close(1000, ""));
    }
    vm.advance(Duration::from_millis(2_500));
    assert!(sockets.iter().all(|socket| socket.0.is_reset()));
    assert_eq!(vm.open_streams(), 0);
}
