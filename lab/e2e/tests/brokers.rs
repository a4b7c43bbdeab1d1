//! Brokers that fail, restart and move while sessions read: a real Kafka of three nodes behind a real Envoy and the
//! real bridge.
//!
//! 1. [`cluster`]: the Kafka, which one test at a time uses, and the gateways in front of it
//! 2. [`walk`]: writers and readers; [`requests`]: the nodes' logs of requests
//! 3. [`failover`], [`topics`], [`unclean`]: leaders and topics that fail, return, move and lose records; [`large`]: a
//!    topic being created; [`replicas`]: too few of them; [`writes`]: leaders
//!    that die while the bridge writes
//! 4. [`bootstrap`], [`racks`], [`quotas`]: which nodes the bridge uses, and how often

mod cluster;
mod requests;
mod walk;

mod bootstrap;
mod failover;
mod large;
mod quotas;
mod racks;
mod replicas;
mod topics;
mod unclean;
mod writes;
