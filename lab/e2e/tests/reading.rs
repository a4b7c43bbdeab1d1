//! Reading through a gateway: real Envoy, real bridge, real Kafka. Every gateway serves the same records, and passes
//! the largest answers.
//!
//! [`sluicegate_stack::socket`] is the client, [`reference`] reads the same logs with librdkafka, [`console`] with
//! Kafka's own tools.

mod console;
mod gateway;
mod reference;

mod cli;
mod compaction;
mod crowd;
mod differential;
mod errors;
mod fetches;
mod gaps;
mod limits;
mod log_end;
mod many;
mod shared_log;
mod stalled;
