//! Reads over real sockets: from librdkafka's mock cluster, and from brokers that a script makes fail.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test helpers may fail loudly"
)]

mod ahead;
mod batches;
mod bootstrap_check;
mod bounds;
mod cold;
mod crowd;
mod failover;
mod faults;
mod log;
mod mock_cluster;
mod news;
mod outages;
mod places;
mod quotas;
mod replicas;
mod round_trip;
mod scripted;
mod searches;
mod secured;
mod sharing;
mod silence;
mod skips;
mod support;
mod topics;
mod truncated;
