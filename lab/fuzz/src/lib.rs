//! Every decoder of foreign bytes, each as a function of one input that panics where a promise is broken.
//!
//! - [`TARGETS`]: the decoders by name; `targets` has them
//! - the program `fuzz`: libFuzzer on one of them
//! - the tests: the inputs of `corpus` and what is near them, on each

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a target fails loudly"
)]

#[path = "../../../crates/schemas/src/avro/tests/invariants.rs"]
mod avro_invariants;
#[expect(dead_code, reason = "the tests use the rest")]
#[path = "../../../crates/records/src/tests/batch.rs"]
mod batch;
#[expect(dead_code, reason = "the tests use the rest")]
#[path = "../../../crates/records/src/tests/invariants.rs"]
mod records_invariants;
#[path = "../../../crates/schemas/src/tests/invariants.rs"]
mod schemas_invariants;
#[path = "../../../crates/ws-session/src/session/tests/invariant.rs"]
mod session_invariant;
mod targets;

pub use self::targets::{TARGETS, Target};
