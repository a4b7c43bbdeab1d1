//! The gateway's routes, beside [`DEMO_ROUTES`].

#[cfg(doc)]
use sluicegate_stack::envoy::DEMO_ROUTES;

/// As [`DEMO_ROUTES`], for users who log in: each has a topic of their own.
pub(crate) const LOGIN_ROUTES: [&str; 3] = [
    concat!(
        r#"{"path": "/pubsub", "cluster": "default", "identity": {"from": "token", "name": "demo"}, "#,
        r#""read": ["demo", "orders.${sub}"], "write": ["orders.${sub}"]}"#
    ),
    concat!(
        r#"{"path": "/produce", "type": "produce", "identity": {"from": "token", "name": "demo"}, "#,
        r#""topics": ["orders.${sub}"], "headerprefix": "x-kafka-", "overrides": ["topic", "partition", "key"], "#,
        r#""recordheaderprefix": "x-kafka-header-"}"#
    ),
    concat!(
        r#"{"path": "/kafka", "type": "rest", "identity": {"from": "token", "name": "demo"}, "#,
        r#""read": ["demo", "orders.${sub}"], "write": ["orders.${sub}"]}"#
    ),
];

/// As [`DEMO_ROUTES`], in terms of NATS.
pub(crate) const NATS_ROUTES: [&str; 3] = [
    r#"{"path": "/pubsub", "cluster": "default", "write": true, "tables": ["*"]}"#,
    concat!(
        r#"{"path": "/produce", "type": "produce", "topic": "demo", "key": "demo.mine", "headerprefix": "x-nats-", "#,
        r#""overrides": ["topic", "key"], "recordheaderprefix": "x-nats-header-"}"#
    ),
    r#"{"path": "/nats", "type": "rest", "write": true, "tables": ["*"]}"#,
];
