//! End to end, on a real Envoy and a real Kafka that all of this one program's tests share.
//!
//! 1. [`envoy`], [`relay`]: what the other tests stand on and do not prove themselves
//! 2. [`dev`], [`demo`], [`documents`]: the script, the demo and the documents as their reader meets them

#![cfg(test)] // so that helpers, too, may fail as tests do

mod demo;
mod dev;
mod documents;
mod envoy;
mod relay;
