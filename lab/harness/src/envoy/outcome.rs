//! The fate of a request.

use crate::abi::headers::Headers;
use crate::abi::response::Response;

/// The fate of a request so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The filter holds the request back.
    Waiting,
    /// The upstream has received it, with these headers. For its response, see
    /// [`Stream::response`](super::Stream::response).
    Forwarded(Headers),
    /// The filter, or Envoy itself, has sent a local response.
    Answered(Response),
    /// The client's stream was reset.
    Reset,
}
