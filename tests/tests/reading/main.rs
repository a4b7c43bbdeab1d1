//! Kafka as clients read it through a gateway: real Envoy, real bridge, real Kafka, in both profiles.
//!
//! [`socket`] is the client (tokio-tungstenite, so that no code of ours judges itself), [`reference`] reads the same logs
//! with librdkafka, [`console`] with Kafka's own tools.

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

mod console;
mod gateway;
mod reference;
mod socket;
mod waiting;

mod cli;
mod codecs;
mod crowd;
mod errors;
mod fetches;
mod gaps;
mod limits;
mod log_end;
mod offsets;
mod topics;
