//! This host's support for each import.

use super::calls::{self, TABLES};
use super::host::Host;
use crate::abi::coverage;
use crate::abi::import::Import;

/// This host's support for an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// It does what the ABI says, or nearly.
    Works,
    /// It returns `OK` without effect.
    Ignored,
    /// It returns `Unimplemented`.
    Unimplemented,
}

/// This host's support for `import`, given as `module.name`; `None` if it lacks it.
pub fn support(import: &str) -> Option<Support> {
    let is_in = |table: &[Import<Host>]| table.iter().any(|known| known.path() == import);
    if is_in(calls::UNIMPLEMENTED) {
        Some(Support::Unimplemented)
    } else if is_in(calls::IGNORED) {
        Some(Support::Ignored)
    } else {
        let known =
            TABLES.iter().any(|table| is_in(table)) && !is_in(calls::ABSENT) && !is_in(&coverage::imports());
        known.then_some(Support::Works)
    }
}
