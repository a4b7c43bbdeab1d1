//! A mistake in a cluster's configuration.

/// A property that cannot be used, and what was expected of it.
///
/// Values are left out where they may be secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{key}`: {problem}")]
pub struct PropertyError {
    /// The property's name.
    pub key: String,
    /// What is wrong, and what is expected.
    pub problem: String,
}
