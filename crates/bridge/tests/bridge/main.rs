//! The bridge as gateways and operators see it, over real connections. No Kafka is needed: a port that refuses
//! connections stands for one that is down, librdkafka's mock cluster for one that is up.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail loudly"
)]

mod admin;
mod audit;
mod circles;
mod endpoint;
mod http;
mod http1;
mod nats_clusters;
mod pressure;
mod program;
mod reads;
mod refusals;
mod reload;
mod route_clusters;
mod support;
mod tls;
mod traces;
mod websocket;
