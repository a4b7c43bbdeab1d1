//! The callback of LLVM's counters of coverage, which only a module for fuzzing imports.

use crate::abi::guest::{Args, Guest, Refused};
use crate::abi::import::Import;
use crate::envoy::host::Host;

pub(super) const IMPORTS: &[Import<Host>] =
    &[Import::fixed("__sanitizer_cov_8bit_counters_init", "ii", init).without_result()];

/// Each crate of the module calls it; the linker has joined their counters.
fn init(guest: &mut Guest<'_, Host>, args: &Args<'_>) -> Result<(), Refused> {
    let (start, end) = (args.u32(0), args.u32(1));
    let counters = &mut guest.host().counters;
    let whole = counters.clone().unwrap_or(start..end);
    *counters = Some(whole.start.min(start)..whole.end.max(end));
    Ok(())
}
