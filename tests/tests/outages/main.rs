//! What breaks, and what comes back: each part killed, hung or gone without a word under open sessions, in both profiles.
//!
//! 1. [`bridge`], [`kafka`]: the servers
//! 2. [`leaving`], [`silence`]: the clients
//! 3. [`socket`] is a client on tokio-tungstenite, [`upgrade`] one of single bytes: no code of ours judges itself

#![cfg(test)] // so that helpers, too, may fail as tests do

/// Makes of each `async fn name(profile: Profile)` two tests: `tunnel::name` and `internal::name`.
macro_rules! in_both_profiles {
    ($($test:ident)*) => {
        mod tunnel {
            $(#[tokio::test]
            async fn $test() {
                super::$test(sluicegate_tests::envoy::Profile::Tunnel).await;
            })*
        }
        mod internal {
            $(#[tokio::test]
            async fn $test() {
                super::$test(sluicegate_tests::envoy::Profile::Internal).await;
            })*
        }
    };
}

mod socket;
mod stacks;
mod upgrade;

mod bridge;
mod kafka;
mod leaving;
mod silence;
