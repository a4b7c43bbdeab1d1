//! Bootstrap brokers are checked for a client that trusts their answers.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use kafka_protocol::messages::RequestKind;
use sluicegate_reader::{BootstrapCheck, Config, ReadError};
use tokio::net::TcpListener;

use crate::scripted::{Asked, Broker, Step, versions};
use crate::support::Cluster;
use crate::support::chain;

async fn check_bootstrap(brokers: &str) -> Result<BootstrapCheck, ReadError> {
    let properties = [("bootstrap.servers", brokers), ("socket.connection.setup.timeout.ms", "900")];
    let properties: BTreeMap<String, String> =
        properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Config::from_properties(&properties).expect("a configuration").check_bootstrap().await
}

/// A broker that is asked nothing but its versions.
async fn broker(versions: fn(&Asked) -> Step) -> Broker {
    Broker::start(move |asked, _| match &asked.kind {
        RequestKind::ApiVersions(_) => versions(asked),
        other => panic!("{other:?}"),
    })
    .await
}

fn sound(asked: &Asked) -> Step {
    Step::Answer(versions(asked, 4, 18))
}

/// A frame of these bytes behind the correlation id.
fn raw(asked: &Asked, body: &[u8]) -> Step {
    let len = u32::try_from(body.len() + 4).expect("a short answer");
    Step::Raw([&len.to_be_bytes(), &asked.id.to_be_bytes(), body].concat())
}

/// No error, and null for the versions, in the version that is asked.
fn null(asked: &Asked) -> Step {
    match asked.version {
        0 => raw(asked, &[0, 0, 0xFF, 0xFF, 0xFF, 0xFF]),
        _ => raw(asked, &[0, 0, 0, 0, 0, 0, 0, 0]),
    }
}

/// As a broker of Kafka before 2.4, which does not know version 3.
fn old(asked: &Asked) -> Step {
    match asked.version {
        0 => sound(asked),
        _ => raw(asked, &[0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 2]),
    }
}

#[tokio::test]
async fn old_and_new_brokers_pass() {
    let mock = Cluster::start(1);
    let (new, old) = (broker(sound).await, broker(old).await);
    for address in [mock.mock.bootstrap_servers(), new.address.to_string(), old.address.to_string()] {
        let checked = check_bootstrap(&address).await.expect("a sound broker");
        assert_eq!(checked.usable, [address]);
        assert!(checked.rejected.is_empty(), "{checked:?}");
    }
}

#[tokio::test]
async fn broker_without_versions_is_rejected() {
    let null_from_3 = |asked: &Asked| if asked.version == 0 { sound(asked) } else { null(asked) };
    let null_from_0 = |asked: &Asked| if asked.version == 0 { null(asked) } else { old(asked) };
    let failing = |asked: &Asked| if asked.version == 0 { sound(asked) } else { raw(asked, &[0, 42]) };
    for (versions, says) in [
        (null_from_3 as fn(&Asked) -> Step, "empty list of versions in the response to ApiVersions 3"),
        (null_from_0, "empty list of versions in the response to ApiVersions 0"),
        (failing, "INVALID_REQUEST in response to ApiVersions"),
    ] {
        let broker = broker(versions).await;
        let error = check_bootstrap(&broker.address.to_string()).await.expect_err("no versions");
        assert!(!error.retriable() && chain(&error).contains(says), "{}", chain(&error));
    }
}

#[tokio::test]
async fn unreachable_broker_is_usable_and_invalid_one_is_rejected() {
    let closed: SocketAddr = {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        listener.local_addr().expect("an address")
    };
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let silent = silent.local_addr().expect("an address");
    let (sound, broken) = (broker(sound).await, broker(null).await);
    let all = [closed, silent, sound.address, broken.address].map(|address| address.to_string());
    let mut checked = check_bootstrap(&all.join(",")).await.expect("a sound broker");
    checked.usable.sort_unstable();
    let mut usable = all[..3].to_vec();
    usable.sort_unstable();
    assert_eq!(checked.usable, usable);
    assert_eq!(checked.rejected.len(), 1);
    assert!(checked.rejected[0].to_string().contains(&all[3]), "{checked:?}");
    // Nobody is left who has passed.
    let error = check_bootstrap(&[&all[0], &all[3]].map(String::as_str).join(","))
        .await
        .expect_err("no sound broker");
    assert!(error.retriable(), "{error}");
}
