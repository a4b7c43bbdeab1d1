//! A mistake in a cluster's configuration.

/// An invalid property.
///
/// It shows no value that can be secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{key}`: {problem}")]
pub struct PropertyError {
    /// The property's name.
    pub key: String,
    /// The problem, and the expected value.
    pub problem: String,
}
