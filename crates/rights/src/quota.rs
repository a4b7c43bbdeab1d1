//! The most that one person can have and do on a route.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

/// The most that one person can have at the same time, and do in a second. A bridge counts for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Quota {
    /// Open sessions.
    pub sessions: NonZeroU32,
    /// Subscriptions of all sessions, and streams of events.
    pub subscriptions: NonZeroU32,
    /// Consumers in groups. Left out by default, since earlier bridges do not know it.
    #[serde(skip_serializing_if = "is_default_consumers")]
    pub consumers: NonZeroU32,
    /// Commands, but no pings and nothing else that a session answers by itself.
    pub commands_per_second: NonZeroU32,
    /// Records that are written.
    pub records_per_second: NonZeroU32,
    /// Bytes of records that are delivered, as protobuf.
    pub read_bytes_per_second: NonZeroU32,
    /// Key, value and header bytes of records that are written.
    pub write_bytes_per_second: NonZeroU32,
}

impl Quota {
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_default_consumers(consumers: &NonZeroU32) -> bool {
    consumers.get() == CONSUMERS
}

/// The consumers of a person, by default.
const CONSUMERS: u32 = 100;

impl Default for Quota {
    /// More than a page needs, with all of a person's tabs, and a small part of what a bridge can do.
    fn default() -> Self {
        let of = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        Self {
            sessions: of(200),
            subscriptions: of(1_000),
            consumers: of(CONSUMERS),
            commands_per_second: of(1_000),
            records_per_second: of(10_000),
            read_bytes_per_second: of(64 << 20),
            write_bytes_per_second: of(16 << 20),
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn earlier_bridges_hear_only_of_chosen_consumers() {
        let told = |quota: Quota| serde_json::to_value(quota).unwrap()["consumers"].as_u64();
        let chosen = Quota { consumers: NonZeroU32::MIN, ..Quota::default() };
        assert_eq!([told(Quota::default()), told(chosen)], [None, Some(1)]);
    }
}
