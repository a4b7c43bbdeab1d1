//! Macros that turn one function into a test for each way in.

/// Turns each `async fn name(profile: Profile)`, or `way: Way`, into a test for each profile of Envoy: `tunnel::name`
/// and `relay::name`.
#[macro_export]
macro_rules! in_every_profile {
    ($($test:ident)+) => {
        $crate::in_a_tunnel! { $($test)+ }
        mod relay {
            $(#[tokio::test]
            async fn $test() {
                super::$test(::sluicegate_stack::envoy::Profile::Relay.into()).await;
            })+
        }
    };
}

/// The same without `relay::name`.
#[macro_export]
macro_rules! in_a_tunnel {
    ($($test:ident)+) => {
        mod tunnel {
            $(#[tokio::test]
            async fn $test() {
                super::$test(::sluicegate_stack::envoy::Profile::Tunnel.into()).await;
            })+
        }
    };
}

/// Turns each `async fn name(way: Way)` into a test for each profile of Envoy, and `direct::name`, without a gateway.
#[macro_export]
macro_rules! in_every_way {
    ($($test:ident)+) => {
        $crate::in_every_profile! { $($test)+ }
        $crate::directly! { $($test)+ }
    };
}

/// Turns each `async fn name(way: Way)` into one test of the bridge's own endpoint: `direct::name`, without a gateway.
#[macro_export]
macro_rules! directly {
    ($($test:ident)+) => {
        mod direct {
            $(#[tokio::test]
            async fn $test() {
                super::$test(::sluicegate_stack::way::Way::Direct).await;
            })+
        }
    };
}

/// Turns each `async fn name(way: Way)` into a test for each gateway of plain HTTP: on Envoy, and `apisix::name`.
#[macro_export]
macro_rules! in_every_gateway {
    ($($test:ident)+) => {
        $crate::in_every_profile! { $($test)+ }
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
                super::$test(::sluicegate_stack::way::Way::Apisix).await;
            })+
        }
    };
}

/// Turns each `async fn name(way: Way)` into one test of the bridge's own endpoint behind nginx: `nginx::name`.
#[macro_export]
macro_rules! through_nginx {
    ($($test:ident)+) => {
        mod nginx {
            $(#[tokio::test]
            async fn $test() {
                super::$test(::sluicegate_stack::way::Way::Nginx).await;
            })+
        }
    };
}
