//! LLVM's 8-bit counters of coverage, which only a module for fuzzing has.

use super::guest::{Args, Guest, Refused};
use super::import::Import;
use super::system::Host;

/// The callback that tells where the counters are.
pub(crate) const fn imports<H: Host>() -> [Import<H>; 1] {
    [Import::fixed("__sanitizer_cov_8bit_counters_init", "ii", init).without_result()]
}

/// Each crate of the module calls it; the linker has joined their counters.
fn init<H: Host>(guest: &mut Guest<'_, H>, args: &Args<'_>) -> Result<(), Refused> {
    let (start, end) = (args.u32(0), args.u32(1));
    let counters = &mut guest.host().system().counters;
    let whole = counters.clone().unwrap_or(start..end);
    *counters = Some(whole.start.min(start)..whole.end.max(end));
    Ok(())
}
