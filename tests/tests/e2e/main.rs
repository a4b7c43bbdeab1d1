//! End to end, on a real Envoy and a real Kafka that all of this one program's tests share.
//!
//! 1. [`kafka`], [`envoy`], [`relay`], [`stack`]: what the other tests stand on
//! 2. [`dev`], [`demo`], [`documents`]: the script, the demo and the documents as their reader meets them

#![cfg(test)] // so that helpers, too, may fail as tests do

mod demo;
mod dev;
mod documents;
mod envoy;
mod kafka;
mod relay;
mod stack;
