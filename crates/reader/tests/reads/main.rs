//! Reads over real sockets from brokers that follow a script.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test helpers may fail loudly"
)]

mod batches;
mod bootstrap_check;
mod cold;
mod crowd;
mod failover;
mod faults;
mod groups;
mod outages;
mod places;
mod quotas;
mod replicas;
mod scripted;
mod secured;
mod sharing;
mod silence;
mod skips;
mod support;
mod topics;
