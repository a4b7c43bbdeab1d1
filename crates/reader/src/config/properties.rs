//! Takes properties one by one, collects all problems, and tells which are secret.

use std::collections::BTreeMap;
use std::time::Duration;

use super::PropertyError;

/// The properties of a cluster.
pub(super) struct Properties<'a> {
    /// Properties that were not taken yet, trimmed.
    pub(super) unread: BTreeMap<&'a str, &'a str>,
    pub(super) problems: Vec<PropertyError>,
}

impl<'a> Properties<'a> {
    pub(super) fn take(&mut self, key: &str) -> Option<&'a str> {
        self.unread.remove(key)
    }

    pub(super) fn problem(&mut self, key: &str, problem: impl Into<String>) {
        self.problems.push(PropertyError { key: key.to_owned(), problem: problem.into() });
    }

    /// The value of a property with an alias.
    pub(super) fn either(&mut self, key: &str, alias: &str) -> Option<&'a str> {
        match (self.take(key), self.take(alias)) {
            (Some(value), Some(other)) => {
                if value != other {
                    self.problem(
                        alias,
                        format!("is an alias of `{key}`: expected one of them, or equal values"),
                    );
                }
                Some(value)
            }
            (value, other) => value.or(other),
        }
    }

    /// A required value, not empty.
    pub(super) fn needed(&mut self, key: &str, what: &str) -> Option<&'a str> {
        let value = self.take(key).filter(|value| !value.is_empty());
        if value.is_none() {
            self.problem(key, format!("is required: expected {what}"));
        }
        value
    }

    pub(super) fn boolean(&mut self, key: &str, default: bool) -> bool {
        match self.take(key).map(str::to_ascii_lowercase).as_deref() {
            None => default,
            Some("true" | "t" | "1") => true,
            Some("false" | "f" | "0") => false,
            Some(other) => {
                self.problem(key, format!("expected `true` or `false`, got `{other}`"));
                default
            }
        }
    }

    pub(super) fn millis(&mut self, key: &str, min: u64, max: u64, default: u64) -> Duration {
        Duration::from_millis(self.number(key, min, max, default, "milliseconds"))
    }

    pub(super) fn bytes(&mut self, key: &str, min: u64, default: u64) -> usize {
        let bytes = self.number(key, min, MAX_BYTES, default, "bytes");
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    /// The size of a system buffer; 0 means the system's default.
    pub(super) fn buffer(&mut self, key: &str) -> u32 {
        u32::try_from(self.number(key, 0, MAX_BUFFER, 0, "bytes")).unwrap_or(0)
    }

    pub(super) fn number(&mut self, key: &str, min: u64, max: u64, default: u64, unit: &str) -> u64 {
        let Some(value) = self.take(key) else { return default };
        match value.parse::<u64>() {
            Ok(number) if (min..=max).contains(&number) => number,
            _ => {
                self.problem(key, format!("expected {min} to {max} {unit}, got `{value}`"));
                default
            }
        }
    }
}

/// Whether the value of a librdkafka property is a secret, which must not appear in logs, errors or debug output.
///
/// It matches words in the name, so that most new and misspelt properties count as well.
pub fn is_secret(property: &str) -> bool {
    WORDS.iter().any(|word| property.contains(word))
        || property.ends_with("key.pem")
        || OTHERS.contains(&property)
}

/// As in librdkafka.
const MAX_BUFFER: u64 = 100_000_000;

/// The largest frame of Kafka's signed 32-bit lengths, less its other fields.
const MAX_BYTES: u64 = 2_000_000_000;

const WORDS: [&str; 3] = ["passphrase", "password", "secret"];
/// The first two contain passwords and tokens, among others.
const OTHERS: [&str; 3] = ["sasl.jaas.config", "sasl.oauthbearer.config", "ssl_key"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_recognized_by_name() {
        for secret in [
            "sasl.jaas.config",
            "sasl.oauthbearer.assertion.private.key.passphrase",
            "sasl.oauthbearer.client.secret",
            "sasl.oauthbearer.config",
            "sasl.password",
            "ssl.key.pem",
            "ssl_key",
        ] {
            assert!(is_secret(secret), "{secret}");
        }
        for shown in ["bootstrap.servers", "sasl.username", "ssl.ca.pem", "ssl.key.location"] {
            assert!(!is_secret(shown), "{shown}");
        }
    }
}
