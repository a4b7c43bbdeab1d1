//! The state that every host keeps for the module it runs.

use super::faults::Faults;
use super::log::Log;

/// The state of a host that calls of any kind need.
pub(crate) trait System: 'static {
    fn log(&mut self) -> &mut Log;
    fn faults(&mut self) -> &mut Faults;
}
