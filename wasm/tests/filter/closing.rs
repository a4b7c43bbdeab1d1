//! A session that is over ends in bounded time, whatever the bridge does.

use std::time::Duration;

use sluicegate_harness::envoy::Outcome;
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

#[test]
fn closed_session_is_reset_unless_the_bridge_ends_it() {
    let vm = start();
    let close = wire::to_say(ToSay::Close(Close { code: 1000, reason: "done".into() }));
    for (name, ending) in ENDINGS {
        let mut witness = Socket::open(&vm);
        // Ticks come at half seconds of this clock: none of the ends falls on one.
        vm.advance(Duration::from_millis(130));
        let [mut ended, mut unended] = [(); 2].map(|()| Socket::open(&vm));
        for socket in [&mut ended, &mut unended] {
            ending(socket);
            assert!(matches!(socket.0.outcome(), Outcome::Forwarded(_)), "{name}: ended at once");
        }
        vm.advance(Duration::from_millis(1_000));
        ended.0.upstream_sends(&close, true);
        assert!(ended.0.is_finished() && !ended.0.is_reset(), "{name}");
        vm.advance(Duration::from_millis(950));
        assert!(!unended.0.is_reset(), "{name}: reset too early");
        vm.advance(Duration::from_millis(550));
        assert!(unended.0.is_reset(), "{name}: not reset after 2.5 s");
        vm.advance(Duration::from_secs(3));
        assert!(!ended.0.is_reset(), "{name}");
        witness.works();
        assert!(!witness.0.is_finished(), "{name}");
    }
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
