//! The fate of a request.

use crate::abi::headers::Headers;
use crate::abi::response::Response;

/// The fate of a request so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// nginx forwards it to the route's upstream, with these headers and the client's body.
    Forwarded(Headers),
    /// The filter, or nginx itself, has answered it.
    Answered(Response),
    /// APISIX could not run the plugin and answers 503, with this log line.
    Unavailable(&'static str),
    /// The worker has crashed or hangs.
    Lost,
}

impl Outcome {
    /// The local response, if there is one.
    pub fn response(&self) -> Option<&Response> {
        match self {
            Self::Answered(response) => Some(response),
            _ => None,
        }
    }
}
