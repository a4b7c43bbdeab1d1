//! Macros that turn one function into a test for each way in.

/// Turns each `async fn name(profile: Profile)`, or `way: Way`, into two tests on Envoy: `tunnel::name` and `internal::name`.
#[macro_export]
macro_rules! in_both_profiles {
    ($($test:ident)+) => {
        mod tunnel {
            $(#[tokio::test]
            async fn $test() {
                super::$test($crate::envoy::Profile::Tunnel.into()).await;
            })+
        }
        mod internal {
            $(#[tokio::test]
            async fn $test() {
                super::$test($crate::envoy::Profile::Internal.into()).await;
            })+
        }
    };
}

/// Turns each `async fn name(way: Way)` into a test for each way in.
#[macro_export]
macro_rules! in_every_way {
    ($($test:ident)+) => {
        $crate::in_both_profiles! { $($test)+ }
        $crate::on_the_endpoint! { $($test)+ }
    };
}

/// Turns each `async fn name(way: Way)` into a test for each gateway of plain HTTP: on Envoy, and `apisix::name`.
#[macro_export]
macro_rules! in_every_gateway {
    ($($test:ident)+) => {
        $crate::in_both_profiles! { $($test)+ }
        $crate::through_apisix! { $($test)+ }
    };
}

/// Turns each `async fn name(way: Way)` into one test in APISIX's emulated host: `apisix::name`.
#[macro_export]
macro_rules! through_apisix {
    ($($test:ident)+) => {
        mod apisix {
            $(#[tokio::test]
            async fn $test() {
                super::$test($crate::way::Way::Apisix).await;
            })+
        }
    };
}

/// Turns each `async fn name(way: Way)` into two tests of the bridge's own endpoint: `relay::name` through nginx, and
/// `direct::name`.
#[macro_export]
macro_rules! on_the_endpoint {
    ($($test:ident)+) => {
        $crate::through_the_relay! { $($test)+ }
        $crate::directly! { $($test)+ }
    };
}

/// Turns each `async fn name(way: Way)` into one test of the bridge's own endpoint: `relay::name`, through nginx.
#[macro_export]
macro_rules! through_the_relay {
    ($($test:ident)+) => {
        mod relay {
            $(#[tokio::test]
            async fn $test() {
                super::$test($crate::way::Way::Relay).await;
            })+
        }
    };
}

/// Turns each `async fn name(way: Way)` into one test of the bridge's own endpoint: `direct::name`, without a gateway.
#[macro_export]
macro_rules! directly {
    ($($test:ident)+) => {
        mod direct {
            $(#[tokio::test]
            async fn $test() {
                super::$test($crate::way::Way::Direct).await;
            })+
        }
    };
}
