//! Secured Kafka: a real Kafka with a listener for each security protocol, behind a real Envoy and the real bridge.
//!
//! 1. [`section`], [`gateway`], [`discovery`]: clusters in the bridge's configuration, and gateways with a path for
//!    each; [`connect`]: clusters checked without a gateway
//! 2. [`readable`], [`reauthentication`]: what can be read, and for how long
//! 3. [`writable`]: what can be written
//! 4. [`faults`], [`configuration`]: invalid settings, their errors and log lines (`logged`)
//! 5. [`identities`], [`secrets`]: users of clusters, and secrets in errors and metrics
//! 6. [`carried`], [`removed`]: routes with their own cluster, and removed routes

mod connect;
mod discovery;
mod gateway;
mod logged;
mod records;
mod section;
mod stubborn;

mod carried;
mod faults;
mod identities;
mod readable;
mod reauthentication;
mod reload;
mod removed;
mod secrets;
mod writable;
