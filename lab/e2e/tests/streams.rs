//! Partitions as Durable Streams, judged by the protocol's own clients: real Envoy, real bridge, real Kafka.

mod caching;
mod clients;
mod ways;
