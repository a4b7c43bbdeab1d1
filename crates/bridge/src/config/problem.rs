//! Problems of a configuration, and their places.

use std::fmt;

/// A problem of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key or variable.
    pub place: Place,
    /// The problem, and the expected value. Never contains a secret.
    pub problem: String,
}

/// The place of a problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A key of the file, dotted. Empty for the whole file.
    Key(String),
    /// An environment variable.
    Variable(String),
}

/// All problems found so far.
#[derive(Debug, Default)]
pub(super) struct Problems {
    all: Vec<Problem>,
    warnings: Vec<Problem>,
    unreadable: bool,
}

impl Problems {
    pub(super) fn add(&mut self, place: impl Into<Place>, problem: impl Into<String>) {
        let (place, problem) = (place.into(), problem.into());
        // A wrong value is not missing.
        let is_wrong = || self.all.iter().any(|known| known.place == place);
        if problem.starts_with("is missing") && is_wrong() {
            return;
        }
        if !self.unreadable || matches!(place, Place::Variable(_)) {
            self.all.push(Problem { place, problem });
        }
    }

    /// The file is not valid TOML. Missing keys are no further problem then.
    pub(super) fn add_unreadable(&mut self, problem: impl Into<String>) {
        self.add("", problem);
        self.unreadable = true;
    }

    /// A mistake in a file that the rest of the configuration does not depend on.
    pub(super) fn warn(&mut self, place: impl Into<Place>, problem: impl Into<String>) {
        self.warnings.push(Problem { place: place.into(), problem: problem.into() });
    }

    /// All warnings so far.
    pub(super) fn take_warnings(&mut self) -> Vec<Problem> {
        std::mem::take(&mut self.warnings)
    }

    pub(super) fn into_result<T>(self, value: T) -> Result<T, Vec<Problem>> {
        if self.all.is_empty() { Ok(value) } else { Err(self.all) }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Place::Key(name) | Place::Variable(name)) = &self.place;
        if !name.is_empty() {
            write!(f, "{name}: ")?;
        }
        f.write_str(&self.problem)
    }
}

impl From<String> for Place {
    fn from(key: String) -> Self {
        Self::Key(key)
    }
}

impl From<&str> for Place {
    fn from(key: &str) -> Self {
        Self::Key(key.to_owned())
    }
}
