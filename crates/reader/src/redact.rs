//! Secrets, and text from peers that can contain them.

use std::fmt;

/// A value that must not appear in logs, errors or debug output.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value, for its one use.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A peer's text for an error: without `secrets`, on one line, and of at most [`MAX_TEXT`] characters.
pub(crate) fn sanitize(text: &str, secrets: &[&Secret]) -> String {
    let mut values: Vec<&str> = secrets.iter().map(|secret| secret.expose()).collect();
    // One can be part of another.
    values.sort_by_key(|value| std::cmp::Reverse(value.len()));
    let hidden = values
        .into_iter()
        .filter(|value| !value.is_empty())
        .fold(text.to_owned(), |text, value| text.replace(value, "…"));
    hidden.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_TEXT).collect()
}

/// Characters of a peer's text in an error.
const MAX_TEXT: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_printed_and_text_is_one_bounded_line() {
        let (short, long) = (Secret::new("pass"), Secret::new("password"));
        assert_eq!(format!("{long:?}"), "Secret(…)");
        assert_eq!(sanitize("password, pass", &[&short, &long]), "…, …");
        assert_eq!(sanitize("nothing", &[&Secret::new("")]), "nothing");
        assert_eq!(sanitize("a\r\nb\u{1b}[0m", &[]), "a  b [0m");
        assert_eq!(sanitize(&"é".repeat(1_000), &[]).chars().count(), MAX_TEXT);
    }
}
