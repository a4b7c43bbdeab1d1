//! The filter's configuration in Envoy. `wasm/tests` tests every mistake.

use sluicegate_stack::Error;
use sluicegate_stack::envoy::{Envoy, Profile, Setup, instead};
use sluicegate_stack::folder::Folder;
use sluicegate_stack::port::Port;
use sluicegate_stack::raw::{Raw, Upgrade};

#[tokio::test]
async fn envoy_does_not_start_and_its_log_names_every_mistake() {
    let folder = Folder::new("configuration").unwrap();
    let keys = r#""gateway_secret": "hush hush", "max_message_bytes": "1 MiB","#;
    let Err(Error::Ended { status, tail, .. }) = start(&folder, keys, r#"{"path": "pubsub"}"#).await else {
        panic!("Envoy runs")
    };
    assert_eq!(status.code(), Some(1), "{tail}");
    for mistake in [
        "max_message_bytes: must be a number of bytes from 1024 to 16777216",
        "routes[0].path: must begin with \"/\" and be visible ASCII, without a query",
        "gateway_secret: must be at least 16 visible ASCII characters, as in the bridge",
    ] {
        let line = format!("sluicegate: invalid configuration: {mistake}");
        assert!(tail.contains(&line), "{mistake:?} in\n{tail}");
    }
    assert!(!tail.contains("hush"), "{tail}");
}

/// In the profile `relay`, one route of Envoy serves all routes of the filter.
#[tokio::test]
async fn route_that_envoy_does_not_have_is_told() {
    let folder = Folder::new("configuration").unwrap();
    let envoy = start(&folder, "", r#"{"path": "/unrouted"}"#).await.unwrap();
    let response = Raw::connect(envoy.gateway()).await.ask(&Upgrade::to("/unrouted").bytes()).await;
    let expected = "the filter has this route, but the gateway has none to the bridge for it";
    assert_eq!((response.status, response.text().trim()), (404, expected));
}

/// An Envoy without a bridge, whose filter has these keys and this route.
async fn start(folder: &Folder, keys: &str, route: &str) -> Result<Envoy, Error> {
    let bridge = Port::pick().unwrap();
    let setup = Setup {
        profile: Profile::Tunnel,
        gateway: Port::pick().unwrap(),
        bridge: bridge.address(),
        bridge_admin: bridge.address(),
        program: None,
        concurrency: 1,
        edits: vec![instead(keys, &[route])],
    };
    Envoy::start(setup, folder.path()).await
}
