//! Several brokers that fail, freeze, move and are told apart, while sessions read: a real Kafka of three nodes behind a
//! real Envoy and the real bridge.
//!
//! 1. [`cluster`]: the Kafka, which one test at a time has for itself, and the gateways in front of it
//! 2. [`walk`]: what writes and reads meanwhile; [`requests`]: what the nodes say that they were asked
//! 3. [`failover`], [`topics`]: leaders and topics that go, come back and move
//! 4. [`bootstrap`], [`racks`], [`quotas`], [`connections`]: which nodes are asked, where, how often, and on how many
//!    connections

#![cfg(test)] // so that helpers, too, may fail as tests do

mod cluster;
mod requests;
mod walk;

mod bootstrap;
mod connections;
mod failover;
mod quotas;
mod racks;
mod topics;
