//! A mistake in a cluster's configuration.

/// An invalid property.
///
/// It shows no value that can be secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{key}`: {problem}")]
pub struct PropertyError {
    /// The property's name.
    pub key: String,
    /// What is wrong, and what is expected.
    pub problem: String,
}
