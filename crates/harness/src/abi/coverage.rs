//! LLVM's 8-bit counters of coverage, which only a module for fuzzing has.

use wasmtime::{Instance, Store};

use super::counters::Counters;
use super::guest::{Args, Guest, Refused};
use super::import::Import;
use super::system::System;

/// The callback that tells where the counters are.
pub(crate) const fn imports<H: System>() -> [Import<H>; 1] {
    [Import::fixed("__sanitizer_cov_8bit_counters_init", "ii", init).without_result()]
}

/// Each crate of the module calls it; the linker has joined their counters.
fn init<H: System>(guest: &mut Guest<'_, H>, args: &Args<'_>) -> Result<(), Refused> {
    let (start, end) = (args.u32(0), args.u32(1));
    let Counters(counters) = guest.host().counters();
    let whole = counters.clone().unwrap_or(start..end);
    *counters = Some(whole.start.min(start)..whole.end.max(end));
    Ok(())
}

/// Takes the module's counters, which begin again from 0.
pub(crate) fn take<H: System>(instance: &Instance, store: &mut Store<H>) -> Vec<u8> {
    let Some(counters) = store.data_mut().counters().0.clone() else { return Vec::new() };
    let Some(memory) = instance.get_memory(&mut *store, "memory") else { return Vec::new() };
    let range = counters.start as usize..counters.end as usize;
    let Some(counters) = memory.data_mut(store).get_mut(range) else { return Vec::new() };
    let taken = counters.to_vec();
    counters.fill(0);
    taken
}
