//! Writing through a gateway: real Envoy, real bridge, real Kafka.
//!
//! [`sluicegate_stack::socket`] is the client. [`told`] writes, and knows what it was told. [`log`] reads the
//! result with librdkafka, [`cli`] with Kafka's own consumer.

mod log;
mod stacks;
pub(crate) mod told;

mod allowed;
mod bounds;
mod cli;
mod ends;
mod order;
mod outage;
mod records;
mod rejected;
