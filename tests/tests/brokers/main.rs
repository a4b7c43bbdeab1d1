//! Brokers that fail, freeze and move while sessions read: a real Kafka of three nodes behind a real Envoy and the real
//! bridge.
//!
//! 1. [`cluster`]: the Kafka, which one test at a time has for itself, and the gateways in front of it
//! 2. [`walk`]: what writes and reads meanwhile; [`requests`]: what the nodes say that they were asked
//! 3. [`failover`], [`topics`]: leaders and topics that go, come back and move
//! 4. [`bootstrap`], [`racks`], [`quotas`]: which nodes are asked, where and how often

#![cfg(test)] // so that helpers, too, may fail as tests do

mod cluster;
mod requests;
mod walk;

mod bootstrap;
mod failover;
mod quotas;
mod racks;
mod topics;
