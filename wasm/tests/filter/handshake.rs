//! The opening handshake: the request to the bridge and the answer to the client.

use sluicegate_harness::envoy::Outcome;
use sluicegate_harness::{Headers, Response};

use crate::gateway::{Gateway, PAGE, Sent, request, says};
use crate::socket::{PROFILES, Profile, Socket, accepted, sorted, start, upgrade, upgrade_with};
use crate::wire;

#[test]
fn read_only_route_sends_its_cluster_without_write() {
    for gateway in Gateway::all() {
        let forged = upgrade_with(":path", "/open?topic=t")
            .with("origin", "https://evil.example")
            .with("sec-websocket-protocol", "sluicegate.token.a")
            .with("sluicegate-write", "true")
            .with("sluicegate-subprotocol", "pubsub");
        let headers = gateway.request(forged).forwarded();
        let told = ["cluster", "write", "subprotocol"].map(|name| headers.text(format!("sluicegate-{name}")));
        assert_eq!(told, [Some("default"), None, None], "{gateway:?}");
        // APISIX can pass on no path with a query untouched.
        let path = if matches!(gateway, Gateway::Apisix(..)) { "/" } else { "/open?topic=t" };
        assert_eq!(headers.text(":path"), Some(path), "{gateway:?}");
    }
}

#[test]
fn bridges_own_paths_are_not_found() {
    for gateway in Gateway::all() {
        for path in ["/sluicegate.v1.Bridge/Session", "/sluicegate.v1.Bridge/Call?x", "/sluicegate.v1."] {
            for method in ["GET", "POST"] {
                let request = upgrade_with(":path", path).without(":method").with(":method", method);
                gateway.request(request).told(404, "there is nothing here");
            }
        }
        gateway.counts("handshakes_refused", 6);
    }
}

#[test]
fn failed_handshake_is_answered_with_its_reason() {
    for gateway in Gateway::all() {
        for name in ["upgrade", "connection"] {
            refused(&gateway, upgrade().without(name), 426, "a WebSocket upgrade is expected here");
        }
        let old = upgrade_with("sec-websocket-version", "8");
        let response = refused(&gateway, old, 400, "Sec-WebSocket-Version 13 is expected");
        assert_eq!(response.headers.text("sec-websocket-version"), Some("13"));
        let short = upgrade_with("sec-websocket-key", "short");
        refused(&gateway, short, 400, "Sec-WebSocket-Key is not 16 bytes in base64");
        refused(&gateway, upgrade_with("origin", b"\xff\xfe"), 400, "Origin is not UTF-8");
        let evil = upgrade_with("origin", "https://evil.example");
        refused(&gateway, evil, 403, "this Origin may not open a session here");
        if let Gateway::Envoy(_, vm) = &gateway {
            vm.set_property("request\0protocol", "HTTP/1.0");
        }
        let older = upgrade().with(":version", "HTTP/1.0");
        refused(&gateway, older, 426, "a WebSocket upgrade needs HTTP/1.1");
        gateway.counts("handshakes_refused", 7);
        gateway.counts("bridge_refused", 0);
        // Of a page's `fetch`: browsers do not tell it why an upgrade was refused.
        let preflight = request("OPTIONS", "/pubsub").and("origin", PAGE);
        let response = gateway.request(preflight.and("access-control-request-method", "GET")).answered();
        let names = ["access-control-allow-origin", "access-control-allow-methods", "vary"];
        let told = names.map(|name| response.headers.text(name));
        assert_eq!((response.status(), response.text()), (204, String::new()), "{gateway:?}");
        assert_eq!(told, [Some(PAGE), Some("GET"), Some("Origin")], "{gateway:?}");
    }
}

/// RFC 8441: Envoy shows an extended CONNECT as an upgrade without a key, and makes a 200 of the 101 for the client.
#[test]
fn upgrade_over_http2_has_no_key_and_gets_no_proof_of_one() {
    for profile in PROFILES {
        let vm = profile.start();
        vm.set_property("request\0protocol", "HTTP/2");
        let mut stream = vm.request(upgrade().without("sec-websocket-key"));
        let Outcome::Forwarded(told) = stream.outcome() else { panic!("{:?}", stream.outcome()) };
        // The bridge takes a relayed upgrade as any other.
        assert_eq!(told.get("sec-websocket-key").is_some(), profile == Profile::Relay);
        stream.upstream_headers(profile.accepted(), false);
        let response = stream.response().expect("an answer");
        assert_eq!(
            sorted(&response.headers),
            [":status: 101", "connection: upgrade", "upgrade: websocket"],
            "{profile:?}"
        );
    }
}

#[test]
fn known_subprotocol_is_told_to_the_bridge_and_echoed_to_the_client() {
    for gateway in Gateway::all() {
        for (offered, chosen) in [
            ("mqtt, pubsub, pubsub.v2, sluicegate.v1.json", "pubsub"),
            ("mqtt, sluicegate.v1.json, pubsub", "sluicegate.v1.json"),
        ] {
            let mut sent = gateway.request(upgrade().with("sec-websocket-protocol", offered));
            let told = sent.forwarded();
            assert_eq!(told.text("sluicegate-subprotocol"), Some(chosen), "{gateway:?} {offered:?}");
            if let (Gateway::Envoy(Profile::Tunnel, _), Sent::Envoy(stream)) = (&gateway, &mut sent) {
                stream.upstream_headers(accepted(), false);
                let response = stream.response().expect("an answer");
                assert_eq!(response.headers.text("sec-websocket-protocol"), Some(chosen), "{offered:?}");
            }
        }
    }
}

#[test]
fn frames_before_the_answer_reach_the_bridge() {
    let vm = start();
    let mut socket = Socket(vm.request(upgrade()));
    socket.asks(&wire::ping(1, b"early"));
    assert_eq!(socket.requests(), [wire::ping(1, b"early")]);
    socket.0.upstream_headers(accepted(), false);
    socket.works();
}

#[track_caller]
fn refused(gateway: &Gateway, request: Headers, status: u16, detail: &str) -> Response {
    let response = gateway.request(request).answered();
    says(&response, status, detail);
    response
}
