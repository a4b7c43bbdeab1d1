//! The stack itself, on a real Envoy and a real Kafka that these tests share.
//!
//! 1. [`envoy`], [`nginx`]: assumptions of the other tests
//! 2. [`dev`], [`demo`], [`documents`]: the script, the demo and the documents, from the user's point of view
//! 3. [`chart`]: the Helm chart's committed renderings

#![cfg(test)] // so that helpers, too, may fail as tests do

mod chart;
mod demo;
mod dev;
mod documents;
mod envoy;
mod nginx;
