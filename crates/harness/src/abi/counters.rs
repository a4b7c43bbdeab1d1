//! The place of a module's counters of coverage.

use std::ops::Range;

/// The place where the module counts how often each of its parts ran, if it was built to.
#[derive(Clone, Default)]
pub(crate) struct Counters(pub(super) Option<Range<u32>>);
