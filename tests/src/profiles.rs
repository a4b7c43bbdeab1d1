//! Two tests of one function: one for each of the committed configurations.

/// Makes of each `async fn name(profile: Profile)` two tests: `tunnel::name` and `internal::name`.
#[macro_export]
macro_rules! in_both_profiles {
    ($($test:ident)+) => {
        mod tunnel {
            $(#[tokio::test]
            async fn $test() {
                super::$test($crate::envoy::Profile::Tunnel).await;
            })+
        }
        mod internal {
            $(#[tokio::test]
            async fn $test() {
                super::$test($crate::envoy::Profile::Internal).await;
            })+
        }
    };
}
