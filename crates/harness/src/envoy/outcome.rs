//! What has become of a request.

use crate::abi::headers::Headers;
use crate::abi::response::Response;

/// What has become of a request so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The filter holds the request back.
    Waiting,
    /// The upstream has it, with these headers. There may be an answer; see [`Stream::response`](super::Stream::response).
    Forwarded(Headers),
    /// The filter, or Envoy itself, has answered in the upstream's place.
    Answered(Response),
    /// The client's stream was reset.
    Reset,
}
