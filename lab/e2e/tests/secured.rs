//! Secured Kafka: a real Kafka with a listener for each security protocol, behind a real Envoy and the real bridge.
//!
//! 1. [`section`], [`gateway`]: clusters in the bridge's configuration, and gateways with a path for each
//! 2. [`readable`], [`reauthentication`]: what can be read, and for how long; [`writable`]: what can be written
//! 3. [`faults`]: invalid settings, their errors and log lines
//! 4. [`reload`]: a corrected password
//! 5. [`carried`]: routes with their own cluster

mod gateway;
mod records;
mod section;

mod carried;
mod faults;
mod readable;
mod reauthentication;
mod reload;
mod writable;
