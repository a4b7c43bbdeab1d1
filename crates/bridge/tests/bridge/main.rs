//! The bridge as gateways and operators see it, over real connections. No Kafka is needed: a port that refuses
//! connections stands for one that is down.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests fail loudly")]

mod admin;
mod call;
mod entrance;
mod http;
mod pressure;
mod program;
mod support;
mod tls;
