//! End to end: a real Envoy, a real bridge, a real Kafka and a real NATS, as users meet them.
//!
//! `./dev e2e` runs these tests with one Kafka, one NATS and the gateways of [`pool`], which they share. A test that breaks a
//! part, or counts what others would add to, starts its own.
//!
//! 1. [`sessions`], [`http`]: the ways in; [`reading`], [`live`], [`tables`], [`writing`]: what goes through them
//! 2. [`identity`]: rights of people; [`secured`]: Kafka with TLS, SASL and ACLs
//! 3. [`outages`]: parts that are killed, frozen or gone. Tests of a Kafka of three nodes wait for each other: they are in
//!    several of these modules, so that few wait at a time
//! 4. [`browser`]: the client and the live page in Chromium
//! 5. [`groups`]: members of consumer groups, beside librdkafka's
//! 6. [`serializers`]: values with schemas, judged by Confluent's own
//! 7. [`conformance`], [`streams`]: the suite and the clients of Durable Streams
//! 8. [`product`]: the demo, the documents, the files for Kubernetes and Docker

#![cfg(test)] // so that helpers, too, may fail as tests do

mod breakable;
mod browser;
mod conformance;
mod groups;
mod http;
mod identity;
mod live;
mod outages;
mod pool;
mod product;
mod reading;
mod schema;
mod schemas;
mod secured;
mod serializers;
mod sessions;
mod streams;
mod tables;
mod writing;
