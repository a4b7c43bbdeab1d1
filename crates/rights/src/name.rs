//! The names of topics.

/// Whether `name` can be the name of a topic, as Kafka's `Topic.validate` checks it.
pub fn is_topic(name: &str) -> bool {
    (1..=MAX_BYTES).contains(&name.len()) && is_of_names(name) && name != "." && name != ".."
}

/// Whether `text` can be the beginning of a topic's name; it can be empty.
pub fn is_prefix(text: &str) -> bool {
    text.len() <= MAX_BYTES && is_of_names(text)
}

/// Whether all characters of `text` can occur in names of topics.
pub(crate) fn is_of_names(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// The characters of a topic's name, for errors.
pub const CHARACTERS: &str = "1 to 249 letters, digits, '.', '_' and '-'";

/// The longest name of a topic in bytes.
pub const MAX_BYTES: usize = 249;
