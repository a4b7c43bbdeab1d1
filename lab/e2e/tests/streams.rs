//! Partitions as Durable Streams, judged by the protocol's own suite and clients: real Envoy, real bridge, real Kafka.

mod caching;
mod clients;
mod conformance;
mod ways;
