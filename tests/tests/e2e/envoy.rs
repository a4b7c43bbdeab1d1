//! Envoy runs the committed configurations, whether or not a bridge is there.

use std::net::SocketAddr;

use sluicegate_tests::envoy::{Envoy, Profile, Setup};
use sluicegate_tests::folder::Folder;
use sluicegate_tests::http;
use sluicegate_tests::port::Port;

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
async fn each_profile_starts_without_a_bridge_and_is_not_ready() {
    for profile in Profile::ALL {
        let folder = Folder::new("envoy-test").unwrap();
        let envoy = Envoy::start(without_bridge(profile), folder.path()).await.unwrap();
        assert_eq!(http::get(envoy.gateway(), "/readyz").await.unwrap().status, 503, "{profile:?}");
        let stats = envoy.stats("^server.live$").await.unwrap();
        assert_eq!(stats.get("server.live"), Some(&1), "{profile:?}");
    }
}

#[tokio::test]
async fn a_killed_envoy_comes_back_on_the_same_port() {
    let folder = Folder::new("envoy-test").unwrap();
    let mut envoy = Envoy::start(without_bridge(Profile::Tunnel), folder.path()).await.unwrap();
    let gateway = envoy.gateway();
    envoy.process.kill();
    assert!(http::get(gateway, "/readyz").await.is_err());
    envoy.up().await.unwrap();
    assert_eq!(envoy.gateway(), gateway);
    assert_eq!(http::get(gateway, "/readyz").await.unwrap().status, 503);
}

#[tokio::test]
async fn a_configuration_that_envoy_refuses_is_told_with_its_reason() {
    let folder = Folder::new("envoy-test").unwrap();
    let mut setup = without_bridge(Profile::Tunnel);
    setup.edits.push(("name: gateway".to_owned(), "nonsense: gateway".to_owned()));
    let Err(error) = Envoy::start(setup, folder.path()).await else { panic!("it started") };
    assert!(error.to_string().contains("nonsense"), "{error}");
}
