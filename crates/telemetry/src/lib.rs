//! Metrics for Prometheus, traces for an OpenTelemetry collector, and causes of failures in the log.

pub mod failure_log;
pub mod incidents;
pub mod metrics;
pub mod rate_limit;
pub mod traces;
