//! The state that every host keeps for its module.

use super::counters::Counters;
use super::faults::Faults;
use super::log::Log;

/// The state of a host that every host call needs.
pub(crate) trait System: 'static {
    fn log(&mut self) -> &mut Log;
    fn faults(&mut self) -> &mut Faults;
    fn counters(&mut self) -> &mut Counters;
}
