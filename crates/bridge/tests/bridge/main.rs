//! The bridge as gateways and operators see it, over real connections. No Kafka is needed: a port that refuses
//! connections stands for one that is down, librdkafka's mock cluster for one that is up.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests fail loudly")]

mod admin;
mod call;
mod entrance;
mod http;
mod pressure;
mod program;
mod reads;
mod support;
mod tls;
