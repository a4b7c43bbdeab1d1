//! Bounds of the lists of commands, in every codec.

/// Partitions of a list-offsets.
pub const MAX_OFFSETS: usize = 1000;
/// Topics of a metadata command.
pub const MAX_TOPICS: usize = 1000;
/// Prefixes of a metadata command.
pub const MAX_PREFIXES: usize = 100;
/// The size of a subscription's command, which also bounds its list of partitions.
pub const MAX_SUBSCRIPTION_BYTES: usize = 128 * 1024;
/// The most topics of a subscription.
pub const MAX_SOURCES: usize = 100;
