//! A macro that turns one function into a test for each way in.

/// Turns each `async fn name(way: Way)` into a test for each of the ways in the brackets: `tunnel::name`, `relay::name` and
/// so on. One behind `full` is for the second tier.
#[macro_export]
macro_rules! in_ways {
    (@way tunnel) => { ::sluicegate_stack::way::Way::Tunnel };
    (@way relay) => { ::sluicegate_stack::way::Way::Relay };
    (@way nginx) => { ::sluicegate_stack::way::Way::Nginx };
    (@way apisix) => { ::sluicegate_stack::way::Way::Apisix };
    (@way direct) => { ::sluicegate_stack::way::Way::Direct };
    ([] $($test:ident)+) => {};
    ([full $way:ident $($more:ident)*] $($test:ident)+) => {
        mod $way {
            $(#[tokio::test]
            #[ignore = "another way in stands for it: ./dev relay"]
            async fn $test() {
                super::$test($crate::in_ways!(@way $way)).await;
            })+
        }
        $crate::in_ways! { [$($more)*] $($test)+ }
    };
    ([$way:ident $($more:ident)*] $($test:ident)+) => {
        mod $way {
            $(#[tokio::test]
            async fn $test() {
                super::$test($crate::in_ways!(@way $way)).await;
            })+
        }
        $crate::in_ways! { [$($more)*] $($test)+ }
    };
}
