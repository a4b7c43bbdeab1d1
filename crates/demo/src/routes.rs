//! The gateway's routes.

use sluicegate_stack::envoy::DEMO_ROUTES;

use crate::source::System;

/// The filter's routes.
pub(crate) fn routes(system: System) -> [&'static str; 3] {
    match system {
        System::Kafka => DEMO_ROUTES,
        System::Nats => NATS_ROUTES,
    }
}

/// As [`DEMO_ROUTES`], in terms of NATS.
const NATS_ROUTES: [&str; 3] = [
    r#"{"path": "/pubsub", "cluster": "default", "write": true}"#,
    concat!(
        r#"{"path": "/produce", "type": "produce", "topic": "demo", "key": "demo.mine", "headerprefix": "x-nats-", "#,
        r#""overrides": ["topic", "key"], "recordheaderprefix": "x-nats-header-"}"#
    ),
    r#"{"path": "/nats", "type": "rest", "write": true}"#,
];
