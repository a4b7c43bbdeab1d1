//! Patterns of topics: regular expressions as Java's clients write them, in time that grows with the names alone.

use regex::bytes::{Regex, RegexBuilder};

use super::ConsumerError;

/// A regular expression that matches whole names of topics.
#[derive(Debug)]
pub(super) struct TopicPattern(Regex);

impl TopicPattern {
    /// Compiles an expression: those of Java that need no look-around and no back reference. Classes such as `\w` are
    /// ASCII's, as in Java, and as names of topics are.
    ///
    /// # Errors
    /// It is invalid, or longer than [`MAX_PATTERN`].
    pub(super) fn compile(text: &str) -> Result<Self, ConsumerError> {
        let invalid = |reason: &str| {
            ConsumerError::Invalid(format!(
                "topic_pattern: expected a regular expression of at most {MAX_PATTERN} bytes: {reason}"
            ))
        };
        if text.is_empty() || text.len() > MAX_PATTERN {
            return Err(invalid(&format!("it has {} bytes", text.len())));
        }
        let compile = |text: &str| {
            RegexBuilder::new(text).unicode(false).size_limit(MAX_BYTES).dfa_size_limit(MAX_BYTES).build()
        };
        // By itself first: it could end the group that makes it match whole names.
        compile(text).and_then(|_| compile(&format!("^(?:{text})$"))).map(Self).map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => invalid("it is too complex"),
            _ => invalid("it has an error, or uses look-around or back references"),
        })
    }

    pub(super) fn matches(&self, topic: &str) -> bool {
        self.0.is_match(topic.as_bytes())
    }
}

/// The longest pattern in bytes: it fits into what a group keeps for a member.
pub const MAX_PATTERN: usize = 256;

/// The memory of a compiled pattern. It is compiled for each look at the topics.
const MAX_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_names_as_in_java() {
        for (pattern, matching, others) in [
            ("orders", &["orders"][..], &["orders2", "xorders"][..]),
            ("a|b.*", &["a", "b", "bc"], &["ab", "xb"]),
            (r"logs\.\d+", &["logs.17"], &["logsx17", "logs.", "logs.1x"]),
            ("(?i)A.b", &["aXB"], &["ab"]),
            (".*", &["", "any"], &[]),
        ] {
            let compiled = TopicPattern::compile(pattern).unwrap();
            matching.iter().for_each(|name| assert!(compiled.matches(name), "{pattern} {name}"));
            others.iter().for_each(|name| assert!(!compiled.matches(name), "{pattern} {name}"));
        }
    }

    #[test]
    fn invalid_and_costly_patterns_are_refused() {
        let long = "a".repeat(MAX_PATTERN + 1);
        for pattern in ["", "(", "a)|(b", "(?x)a #", "(?!a)b", r"(a)\1", "(((a{99}){99}){99}){99}", &long] {
            let error = TopicPattern::compile(pattern).unwrap_err().to_string();
            assert!(error.starts_with("topic_pattern: expected") && error.len() < 200, "{pattern}: {error}");
        }
    }
}
