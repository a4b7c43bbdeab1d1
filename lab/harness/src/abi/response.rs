//! A response as a client sees it.

use std::fmt;

use super::headers::Headers;

/// The response so far, as the client has received it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Response {
    /// With `:status`.
    pub headers: Headers,
    /// The body so far.
    pub body: Vec<u8>,
    /// `None` if there are none, or none yet.
    pub trailers: Option<Headers>,
    /// The stream has ended without a reset.
    pub complete: bool,
}

impl Response {
    /// `:status` as a number; 0 if there is none.
    pub fn status(&self) -> u16 {
        self.headers.text(":status").and_then(|status| status.parse().ok()).unwrap_or_default()
    }

    /// The body so far; invalid UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("headers", &self.headers)
            .field("body", &format_args!("\"{}\"", self.body.escape_ascii()))
            .field("trailers", &self.trailers)
            .field("complete", &self.complete)
            .finish()
    }
}
