//! Bootstrap brokers are checked for a client that trusts their answers.

use sluicegate_reader::{BootstrapCheck, ReadError};
use tokio::net::TcpListener;

use crate::scripted::{Asked, Broker, Key, Step};
use crate::support::{config, nowhere};

async fn check_bootstrap(brokers: &[&str]) -> Result<BootstrapCheck, ReadError> {
    config(&brokers.join(","), &[("socket.timeout.ms", "5000")]).check_bootstrap().await
}

/// A broker that is asked nothing but its versions, and its address.
async fn broker(versions: fn(&Asked) -> Step) -> (Broker, String) {
    let broker = Broker::start(move |asked| {
        assert!(asked.key == Key::ApiVersions, "{:?}", asked.kind);
        versions(asked)
    })
    .await;
    let address = broker.address.to_string();
    (broker, address)
}

/// No error, and null for the versions, in the version that is asked.
fn null(asked: &Asked) -> Step {
    match asked.version {
        0 => asked.raw(&[0, 0, 0xFF, 0xFF, 0xFF, 0xFF]),
        _ => asked.raw(&[0, 0, 0, 0, 0, 0, 0, 0]),
    }
}

/// As a broker of Kafka before 2.4, which does not know version 3.
fn old(asked: &Asked) -> Step {
    match asked.version {
        0 => asked.usual(),
        _ => asked.raw(&[0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 2]),
    }
}

#[tokio::test]
async fn broker_with_versions_passes_and_another_is_rejected() {
    let null_from_3 = |asked: &Asked| if asked.version == 0 { asked.usual() } else { null(asked) };
    let null_from_0 = |asked: &Asked| if asked.version == 0 { null(asked) } else { old(asked) };
    let failing = |asked: &Asked| if asked.version == 0 { asked.usual() } else { asked.raw(&[0, 42]) };
    for (versions, says) in [
        (Asked::usual as fn(&Asked) -> Step, None),
        (old, None),
        (null_from_3, Some("empty list of versions in the response to ApiVersions 3")),
        (null_from_0, Some("empty list of versions in the response to ApiVersions 0")),
        (failing, Some("INVALID_REQUEST in response to ApiVersions")),
    ] {
        let (_broker, address) = broker(versions).await;
        match (check_bootstrap(&[&address]).await, says) {
            (Ok(checked), None) => assert_eq!((checked.usable, checked.rejected.len()), (vec![address], 0)),
            (Err(error), Some(says)) => {
                assert!(!error.retriable() && error.with_causes().contains(says), "{error:?}");
            }
            (other, says) => panic!("{other:?}, expected: {says:?}"),
        }
    }
}

#[tokio::test]
async fn unreachable_broker_is_usable_and_invalid_one_is_rejected() {
    let closed = nowhere().to_string();
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let silent = silent.local_addr().expect("an address").to_string();
    let ((_sound, sound), (_broken, broken)) = (broker(Asked::usual).await, broker(null).await);
    let mut checked = check_bootstrap(&[&closed, &silent, &sound, &broken]).await.expect("a sound broker");
    checked.usable.sort_unstable();
    let mut usable = [closed.clone(), silent, sound];
    usable.sort_unstable();
    assert_eq!(checked.usable, usable);
    assert_eq!(checked.rejected.len(), 1);
    assert!(checked.rejected[0].to_string().contains(&broken), "{checked:?}");
    // Nobody is left who has passed.
    let error = check_bootstrap(&[&closed, &broken]).await.expect_err("no sound broker");
    assert!(error.retriable(), "{error}");
}
