//! The way to a registry.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use thiserror::Error;

/// Carries requests to a registry.
pub trait Transport: Send + Sync {
    /// The answer to one request, whatever its status, of at most [`MAX_ANSWER`] bytes.
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, Unanswered>>;

    /// The registry's address, for the log alone.
    fn shown(&self) -> &str;
}

/// A request of Confluent's REST API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The path below the registry's URL, percent-encoded, with a leading slash.
    pub path: String,
    /// JSON, which is sent with POST. Without it, the method is GET.
    pub body: Option<Bytes>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status of HTTP.
    pub status: u16,
    /// The content.
    pub body: Bytes,
}

/// A request without an answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unanswered {
    /// The answer is too large.
    #[error("an answer of more than {0} bytes")]
    TooLarge(usize),
    /// No answer in time, or no connection: in words for the log.
    #[error("{0}")]
    Failed(String),
}

/// Bytes of an answer, at most: a schema of [`MAX_SCHEMA_BYTES`](crate::MAX_SCHEMA_BYTES) as a JSON string, with room
/// for escapes.
pub const MAX_ANSWER: usize = 4 * 1024 * 1024;
