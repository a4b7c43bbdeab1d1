//! Envoy runs the committed configurations, with or without a bridge.

use std::net::SocketAddr;

use sluicegate_stack::envoy::{Envoy, Profile, Setup};
use sluicegate_stack::folder::Folder;
use sluicegate_stack::http;
use sluicegate_stack::port::Port;

fn without_bridge(profile: Profile) -> Setup {
    Setup {
        profile,
        gateway: Port::pick().unwrap(),
        bridge: closed(),
        bridge_admin: closed(),
        program: None,
        concurrency: 1,
        edits: Vec::new(),
    }
}

/// Where nobody listens, for as long as this process lives.
fn closed() -> SocketAddr {
    let port = Port::pick().unwrap();
    let address = port.address();
    std::mem::forget(port);
    address
}

#[tokio::test]
async fn envoy_starts_without_a_bridge_and_is_not_ready() {
    for profile in Profile::ALL {
        let folder = Folder::new("envoy-test").unwrap();
        let envoy = Envoy::start(without_bridge(profile), folder.path()).await.unwrap();
        assert_eq!(http::get(envoy.gateway(), "/readyz").await.unwrap().status, 503, "{profile:?}");
        let stats = envoy.stats("^server.live$").await.unwrap();
        assert_eq!(stats.get("server.live"), Some(&1), "{profile:?}");
    }
}
