//! The bridge as gateways and operators see it, over real connections. No Kafka is needed: a port that refuses
//! connections stands for one that is down.

mod admin;
mod call;
mod entrance;
mod support;
