//! What every host keeps for the module it runs, whatever gateway it models.

use std::time::Duration;

use super::faults::Faults;
use super::log::Log;

/// The state of a host that log, clock, random numbers and injected faults need.
pub(crate) trait System: 'static {
    fn log(&mut self) -> &mut Log;
    fn faults(&mut self) -> &mut Faults;
    /// Wall clock, since 1970.
    fn now(&self) -> Duration;
    /// Since the start.
    fn uptime(&self) -> Duration;
    fn random(&mut self) -> &mut u64;
}
