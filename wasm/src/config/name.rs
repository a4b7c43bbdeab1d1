//! The names of topics and clusters.

/// Kafka's `Topic.validate`.
pub(super) fn is_topic(name: &str) -> bool {
    (1..=249).contains(&name.len()) && name.bytes().all(is_name_byte) && name != "." && name != ".."
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._-".contains(&byte)
}

/// The bridge allows no other names for clusters.
pub(super) fn is_cluster(name: &str) -> bool {
    (1..=100).contains(&name.len()) && name.bytes().all(is_name_byte)
}
