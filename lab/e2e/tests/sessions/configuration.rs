//! A filter with an invalid configuration refuses all clients, and logs every mistake.

use sluicegate_stack::Error;
use sluicegate_stack::envoy::{Envoy, Profile, Setup};
use sluicegate_stack::folder::Folder;
use sluicegate_stack::port::Port;

#[tokio::test]
async fn envoy_does_not_start_and_its_log_names_every_mistake() {
    let routes = r#""routes": [{"path": "pubsub", "cluster": ""}, {"path": "/x", "origins": "*"}]"#;
    let keys = r#""gateway_secret": "hush hush", "max_message_bytes": "1 MiB", "rotes": 3"#;
    let said = refusal(&format!("{keys}, {routes}")).await;
    for mistake in [
        "max_message_bytes: must be a number of bytes from 1024 to 16777216",
        "routes[0].path: must begin with \"/\" and be visible ASCII, without a query",
        "routes[0].cluster: must be a string that is not empty",
        "routes[1].origins: must be an array of strings",
        "rotes: unknown key, did you mean `routes`?",
        "gateway_secret: must be at least 16 visible ASCII characters, as in the bridge",
    ] {
        assert!(
            said.contains(&format!("sluicegate: invalid configuration: {mistake}")),
            "{mistake:?} in\n{said}"
        );
    }
    assert!(!said.contains("hush"), "{said}");
    let said = refusal("\"routes\"").await;
    assert!(said.contains("sluicegate: invalid configuration: invalid JSON: "), "{said}");
}

/// Envoy's error when these stand where the committed configuration has its routes.
async fn refusal(keys: &str) -> String {
    let folder = Folder::new("configuration").unwrap();
    let bridge = Port::pick().unwrap();
    let routes = r#""routes": [{"path": "/pubsub", "cluster": "default"}]"#;
    let setup = Setup {
        profile: Profile::Tunnel,
        gateway: Port::pick().unwrap(),
        bridge: bridge.address(),
        bridge_admin: bridge.address(),
        program: None,
        concurrency: 1,
        edits: vec![(routes.to_owned(), keys.to_owned())],
    };
    match Envoy::start(setup, folder.path()).await {
        Err(Error::Ended { status, tail, .. }) => {
            assert_eq!(status.code(), Some(1), "{tail}");
            tail
        }
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("Envoy runs with {keys}"),
    }
}
