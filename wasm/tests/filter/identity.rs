//! Who a client is, as the bridge is told: by claims that Envoy has verified, or by the client's own token.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use prost::Message;
use prost_types::value::Kind;
use prost_types::{Struct, Value as Typed};
use serde_json::{Value, json};
use sluicegate_harness::envoy::Vm;

use crate::gateway::{Gateway, PAGE, apisix, request, says, settings};
use crate::socket::{PROFILES, sorted, start_configured, upgrade};

/// A gateway whose routes ask for an identity.
fn configuration(own: &str, keys: &str) -> String {
    let routes = format!(r#"{{"path": "/pubsub", {keys}}}, {{"path": "/kafka", "type": "rest", {keys}}}"#);
    format!(r#"{{{own} "gateway_secret": "s3cret-of-the-gateway", "routes": [{routes}]}}"#)
}

/// Every gateway, on whose routes clients have a token.
fn of_tokens() -> [Gateway; 3] {
    let keys = r#""origins": ["https://app.example"], "topics": ["${sub}"],
        "identity": {"from": "token", "name": "main", "query": "access_token", "cookie": "sid"}"#;
    let [tunnel, relay] = PROFILES.map(|profile| {
        let own = format!(r#""profile": "{}","#, format!("{profile:?}").to_lowercase());
        Gateway::Envoy(profile, start_configured(&configuration(&own, keys)))
    });
    let worker = apisix();
    let route = worker.route(configuration("", keys));
    [tunnel, relay, Gateway::Apisix(worker, route)]
}

#[test]
fn token_reaches_the_bridge_and_leaves_its_place() {
    for gateway in of_tokens() {
        for (name, value, query) in [
            ("authorization", "bEARER a.b.c", "?x=1"),
            ("sec-websocket-protocol", "sluicegate.token.a.b.c", "?x=1"),
            ("sec-websocket-protocol", "sluicegate.v1, sluicegate.token.a.b.c,amqp", "?x=1"),
            ("x-none", "-", "?access_token=a.b.c&x=1&access_token=a.b.c"),
            // Pages send it with each request.
            ("cookie", "sid=a.b.c", "?x=1"),
        ] {
            for (request, path) in [(upgrade(), "/pubsub"), (request("GET", ""), "/kafka/topics")] {
                let sent = request.without(":path").with(":path", format!("{path}{query}"));
                let forwarded = gateway.request(sent.with(name, value)).forwarded();
                let mut places = sorted(&forwarded);
                places.retain(|line| line.contains("a.b.c") && !line.starts_with("cookie: "));
                assert_eq!(places, ["sluicegate-token: a.b.c"], "{gateway:?}, {path}, {name}: {value}");
                if path != "/pubsub" {
                    assert_eq!(settings(&forwarded).path, "/topics?x=1", "{gateway:?}, {name}: {value}");
                }
            }
        }
    }
}

#[test]
fn other_text_than_a_token_is_refused() {
    let bearer = |token: &str| format!("Bearer {token}");
    for gateway in of_tokens() {
        for request in [upgrade(), request("GET", "/kafka/topics")] {
            for token in ["a".repeat(8193), "a b".into(), "a\tb".into(), "a.\u{e9}.c".into()] {
                let response =
                    gateway.request(request.clone().with("authorization", bearer(&token))).answered();
                assert_eq!(response.status(), 401, "{gateway:?}: {token}");
                let challenge = response.headers.text("www-authenticate");
                assert_eq!(challenge, Some("Bearer error=\"invalid_token\""), "{gateway:?}: {token}");
            }
            let longest = "a".repeat(8192);
            let forwarded = gateway.request(request.with("authorization", bearer(&longest))).forwarded();
            assert_eq!(forwarded.text("sluicegate-token"), Some(&longest[..]), "{gateway:?}");
        }
    }
}

/// Browsers hide why an upgrade is refused. A page asks with a plain request.
#[test]
fn page_can_ask_whether_it_must_log_in() {
    let plain = |origin: &str| request("GET", "/pubsub").and("origin", origin);
    let (log_in, malformed) = (Some("Bearer"), Some("Bearer error=\"invalid_token\""));
    for gateway in of_tokens() {
        for (request, status, challenge, detail) in [
            (plain(PAGE), 401, log_in, "log in first: this route asks who you are"),
            (
                plain(PAGE).and("authorization", "Bearer a b"),
                401,
                malformed,
                "the token is not a JSON Web Token of at most 8192 bytes",
            ),
            (plain(PAGE).and("authorization", "a.b.c"), 401, log_in, "expected Authorization: Bearer TOKEN"),
            (plain(PAGE).and("cookie", "sid=a.b.c"), 426, None, "a WebSocket upgrade is expected here"),
        ] {
            let response = gateway.request(request).answered();
            says(&response, status, detail);
            let names =
                ["www-authenticate", "access-control-allow-origin", "access-control-allow-credentials"];
            let told = names.map(|name| response.headers.text(name));
            assert_eq!(told, [challenge, Some(PAGE), Some("true")], "{gateway:?}");
        }
        let evil = plain("https://evil.example");
        for request in [evil.clone(), evil.and("authorization", "Bearer a b")] {
            let response = gateway.request(request).answered();
            says(&response, 403, "this Origin may not open a session here");
            assert_eq!(response.headers.text("access-control-allow-origin"), None, "{gateway:?}");
        }
        // The bridge decides, and its log has the client.
        assert_eq!(gateway.request(upgrade()).forwarded().text("sluicegate-token"), None, "{gateway:?}");
    }
    let no_payload = "sluicegate: a request with a token has no identity (1 so far): /pubsub: no payload \"claims\" of jwt_authn: \
                      is it before this filter, with payload_in_metadata?";
    for (identity, status, warning) in [
        (r#"{"from": "jwt_authn", "payload": "claims"}"#, 401, Some(no_payload)),
        (r#"{"from": "certificate", "subject": "dns_san"}"#, 401, None),
        (r#"{"from": "token", "name": "main", "anonymous": true}"#, 426, None),
    ] {
        let vm = start_configured(&configuration("", &format!(r#""identity": {identity}"#)));
        let gateway = Gateway::Envoy(PROFILES[0], vm);
        let before = gateway.texts().len();
        for token in ["", "Bearer a.b.c"] {
            let response = gateway.request(plain(PAGE).and("authorization", token)).answered();
            assert_eq!(response.status(), status, "{identity}");
        }
        assert_eq!(gateway.texts().get(before).map(String::as_str), warning, "{identity}");
    }
}

/// `envoy.config.core.v3.Metadata`.
#[derive(Clone, PartialEq, Message)]
struct Metadata {
    #[prost(btree_map = "string, message", tag = "1")]
    filter_metadata: BTreeMap<String, Struct>,
}

/// An object of texts and such objects.
fn members(value: &Value) -> Struct {
    let typed = |value: &Value| match value.as_str() {
        Some(text) => Typed::from(text),
        None => Kind::StructValue(members(value)).into(),
    };
    let members = value.as_object().expect("an object").iter();
    Struct { fields: members.map(|(name, value)| (name.clone(), typed(value))).collect() }
}

/// An Envoy that has verified a token with these claims.
fn verified(claims: &Value) -> Vm {
    let vm = start_configured(&configuration(
        "",
        r#""identity": {"from": "jwt_authn", "payload": "claims"}, "claims": {"team": ["realm", "team"]},
           "topics": ["${sub}.${team}"]"#,
    ));
    let namespace = "envoy.filters.http.jwt_authn".to_owned();
    let filter_metadata = [(namespace, members(&json!({"claims": claims})))].into();
    vm.set_property("metadata", Metadata { filter_metadata }.encode_to_vec());
    vm
}

/// The claims that the bridge is told.
fn told(vm: &Vm) -> Option<Value> {
    let stream = vm.request(upgrade());
    let headers = stream.upstream_request().expect("forwarded");
    let identity = STANDARD_NO_PAD.decode(headers.get("sluicegate-identity")?).expect("base64");
    Some(serde_json::from_slice(&identity).expect("JSON"))
}

#[test]
fn bridge_is_told_only_the_claims_that_the_route_uses() {
    let vm =
        verified(&json!({"sub": "alice", "email": "a@x.example", "realm": {"team": "red", "salary": "1"}}));
    assert_eq!(told(&vm), Some(json!({"sub": "alice", "realm": {"team": "red"}})));
}

#[test]
fn claims_that_the_route_uses_are_bounded() {
    let of = |len: usize| {
        let rest = json!({"sub": "alice", "realm": {"team": ""}}).to_string().len();
        verified(
            &json!({"sub": "alice", "realm": {"team": "x".repeat(len - rest)}, "other": "x".repeat(9000)}),
        )
    };
    assert!(told(&of(3072)).is_some());
    for request in [upgrade(), request("GET", "/kafka/topics")] {
        let reason = "the claims of this identity that the route uses are more than 3072 bytes";
        let response = Gateway::Envoy(PROFILES[0], of(3073)).request(request).answered();
        says(&response, 431, reason);
    }
}

#[test]
fn only_the_name_in_a_verified_certificate_is_an_identity() {
    let of = |properties: &[(&str, &[u8])]| {
        let keys = r#""identity": {"from": "certificate", "subject": "dns_san"}, "topics": ["${sub}"]"#;
        let vm = start_configured(&configuration("", keys));
        for (name, value) in properties {
            vm.set_property(&format!("connection\0{name}"), value);
        }
        told(&vm)
    };
    let (valid, name) = ("peer_certificate_valid", ("dns_san_peer_certificate", &b"alice"[..]));
    assert_eq!(of(&[(valid, &[1]), name]), Some(json!({"sub": "alice"})));
    for others in [
        &[(valid, &[0][..]), name][..],
        &[(valid, &[]), name],
        &[name],
        &[(valid, &[1])],
        &[(valid, &[1]), ("dns_san_peer_certificate", b"")],
        &[(valid, &[1]), ("subject_peer_certificate", b"alice")],
    ] {
        assert_eq!(of(others), None, "{others:?}");
    }
}
