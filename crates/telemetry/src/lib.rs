//! Everything that operators see of the bridge, except its configuration.
//!
//! - [`audit`]: who opened sessions, who was refused and what was denied, in a file for operators
//! - [`metrics`]: counters and gauges for Prometheus
//! - [`traces`]: the trace id of each request, and its spans for an OpenTelemetry collector
//! - [`incidents`]: causes that clients must not see, logged under a reference that clients get
//! - [`shown`]: names and times as operators see them
//! - [`failure_log`]: failed commands in the log, at most so many; [`rate_limit`]: the limit

pub mod audit;
pub mod failure_log;
pub mod incidents;
pub mod metrics;
pub mod rate_limit;
pub mod shown;
pub mod traces;
