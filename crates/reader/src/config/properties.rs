//! Properties are taken one by one; what cannot be used becomes a problem.

use std::collections::BTreeMap;
use std::time::Duration;

use super::PropertyError;

/// The properties of a cluster that is being configured.
pub(super) struct Properties<'a> {
    /// Those that were not taken, trimmed.
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

/// The largest frame that Kafka's signed 32-bit lengths leave room for, less its envelope.
const MAX_BYTES: u64 = 2_000_000_000;
