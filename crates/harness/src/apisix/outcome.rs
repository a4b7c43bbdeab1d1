//! What has become of a request.

use crate::abi::headers::Headers;
use crate::abi::response::Response;

/// What has become of a request so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// nginx passes it on to the route's upstream, with these headers and the client's body.
    Forwarded(Headers),
    /// The filter, or nginx itself, has answered in the upstream's place.
    Answered(Response),
    /// APISIX answers 503, as it could not run the plugin: what it logs.
    Unavailable(&'static str),
    /// The worker has crashed or hangs.
    Lost,
}

impl Outcome {
    /// What the client was told.
    pub fn response(&self) -> Option<&Response> {
        match self {
            Self::Answered(response) => Some(response),
            _ => None,
        }
    }
}
