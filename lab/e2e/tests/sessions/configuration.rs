//! The filter's configuration in Envoy. `wasm/tests` tests every mistake.

use sluicegate_stack::Error;
use sluicegate_stack::envoy::{Envoy, Profile, Setup, instead};
use sluicegate_stack::folder::Folder;
use sluicegate_stack::port::Port;

#[tokio::test]
async fn envoy_does_not_start_and_its_log_names_every_mistake() {
    let folder = Folder::new("configuration").unwrap();
    let bridge = Port::pick().unwrap();
    let keys = r#""gateway_secret": "hush hush", "max_message_bytes": "1 MiB","#;
    let setup = Setup {
        profile: Profile::Tunnel,
        gateway: Port::pick().unwrap(),
        bridge: bridge.address(),
        bridge_admin: bridge.address(),
        program: None,
        concurrency: 1,
        edits: vec![instead(keys, &[r#"{"path": "pubsub"}"#])],
    };
    let Err(Error::Ended { status, tail, .. }) = Envoy::start(setup, folder.path()).await else {
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
