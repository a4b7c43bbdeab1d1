//! Relayed sessions: the filter checks each upgrade, and leaves the session's bytes alone.

use sluicegate_harness::envoy::Vm;
use sluicegate_harness::{HostCall, Status, When};

use crate::faults::STATUSES;
use crate::gateway::{Gateway, Sent};
use crate::socket::{Profile, Socket, sorted, upgrade, upgrade_with};

fn start() -> Vm {
    Profile::Relay.start()
}

/// Relayed, the handshake stays, as the bridge answers it. The path stays in Envoy, whose routes match it; APISIX can pass
/// on no path with a query untouched.
#[test]
fn bridge_gets_the_clients_upgrade_with_the_grant() {
    let request = upgrade_with(":path", "/pubsub?access_token=a")
        .with("user-agent", b"\xff\xfe")
        .with("origin", "https://app.example")
        .with("sec-websocket-protocol", "mqtt, pubsub")
        .with("sec-websocket-extensions", "permessage-deflate")
        .and("sec-websocket-extensions", "x")
        .and("sluicegate-cluster", "payments")
        .and("sluicegate-cluster", "payments")
        .and("Sluicegate-Gateway-Secret", "guess")
        .and("sluicegate-cluster-definition", "CgdldmlsOjEK")
        .and("SLUICEGATE-IDENTITY", "root")
        .and("sluicegate-write", "false")
        .and("x-sluicegate-route", "other")
        .and("sluicegate-subprotocol", "other")
        .and("sluicegate-http", "CgA")
        .and("sluicegate-", "x")
        .and("X-Sluicegate-Max-Message-Bytes", "1");
    let always = [
        ":method: GET",
        ":scheme: http",
        "connection: Upgrade",
        "origin: https://app.example",
        "sluicegate-client: 10.0.0.9",
        "sluicegate-cluster: orders",
        "sluicegate-gateway-secret: s3cret-of-the-gateway",
        "sluicegate-subprotocol: pubsub",
        "sluicegate-topics: orders,public.*",
        "sluicegate-write: true",
        "upgrade: websocket",
        "user-agent: \\xff\\xfe",
        "x-sluicegate-route: /pubsub",
    ];
    let handshake = [
        "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
        "sec-websocket-protocol: mqtt, pubsub",
        "sec-websocket-version: 13",
    ];
    let session = [
        "content-type: application/grpc",
        "sluicegate-padded: true",
        "x-sluicegate-max-message-bytes: 1048576",
    ];
    for gateway in Gateway::all() {
        let request = request.clone();
        let (request, own) = match gateway {
            Gateway::Envoy(Profile::Tunnel, _) => (
                request.with("te", "gzip").with("content-length", "0").with("content-type", "text/html"),
                session,
            ),
            _ => (request, handshake),
        };
        let target = match gateway {
            Gateway::Envoy(..) => [":authority: gateway.example", ":path: /pubsub?access_token=a"],
            Gateway::Apisix(..) => [":path: /", "host: gateway.example"],
        };
        let mut want = [&always[..], &own, &target].concat();
        want.sort_unstable();
        let sent = gateway.request(request);
        assert_eq!(sorted(&sent.forwarded()), want, "{gateway:?}");
        assert!(!matches!(&sent, Sent::Envoy(stream) if !stream.to_upstream().is_empty()), "{gateway:?}");
        assert_eq!(gateway.texts(), [""; 0]);
    }
}

#[test]
fn bytes_pass_whatever_the_host_refuses() {
    let vm = start();
    let mut socket = Socket(vm.request(upgrade()));
    socket.client(b"early");
    socket.0.upstream_headers(Profile::Relay.accepted(), false);
    assert_eq!(sorted(&socket.0.response().expect("an answer").headers), sorted(&Profile::Relay.accepted()));
    assert_eq!(socket.0.take_to_upstream(), b"early");
    for status in STATUSES {
        for call in HostCall::ALL {
            vm.refuse(call, When::Always, Status(status));
        }
        socket.client([0x82; 70_000]);
        socket.bridge([0x81; 70_000]);
        assert_eq!(socket.0.take_to_upstream(), [0x82; 70_000], "status {status}");
        assert_eq!(socket.answers(), [0x81; 70_000], "status {status}");
    }
    assert_eq!(socket.0.pauses(), [""; 0]);
}

#[test]
fn answer_that_cannot_be_read_ends_the_stream() {
    let vm = start();
    let mut stream = vm.request(upgrade());
    vm.refuse(HostCall::GetHeaderMapValue, When::Always, Status(77));
    stream.upstream_headers(Profile::Relay.accepted(), false);
    vm.allow(HostCall::GetHeaderMapValue);
    assert!(stream.is_reset());
    let log = vm.log();
    let line = "sluicegate: failed to pass on the headers of an answer: host status 77; the stream is ended";
    assert_eq!(log.last().map(|line| line.text.as_str()), Some(line));
}
