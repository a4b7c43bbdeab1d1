//! Failures of token sources.

/// The reason for a missing token.
#[derive(Debug, Clone)]
pub(crate) struct TokenFault {
    pub(crate) what: String,
    pub(crate) retriable: bool,
}
