//! libFuzzer on one target: `SLUICEGATE_FUZZ_TARGET` names it.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sluicegate_fuzz::{TARGETS, Target};

static RUN: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("SLUICEGATE_FUZZ_TARGET").unwrap_or_default();
    let names: Vec<_> = TARGETS.iter().map(|(name, _)| *name).collect();
    let found = TARGETS.iter().find(|(known, _)| *known == name);
    #[expect(clippy::panic, reason = "libFuzzer has no other way to say it")]
    found.unwrap_or_else(|| panic!("SLUICEGATE_FUZZ_TARGET: expected one of {}", names.join(", "))).1
});

// The filter is compiled once, here, where libFuzzer does not time it.
fuzz_target!(init: RUN(&[0]), |input: &[u8]| RUN(input));
