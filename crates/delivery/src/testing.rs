//! Messaging systems for tests, here and in crates with the feature `testing`.

#![expect(clippy::unwrap_used, reason = "tests fail loudly")]

pub mod logs;
pub mod script;

/// Room for the tables of a test.
const TABLE_BYTES: usize = 64 << 20;
