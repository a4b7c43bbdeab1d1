//! A response as a client sees it.

use std::fmt;

use super::headers::Headers;

/// What the client has received.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Response {
    /// With `:status`.
    pub headers: Headers,
    /// So far.
    pub body: Vec<u8>,
    /// `None` where there are none, or none yet.
    pub trailers: Option<Headers>,
    /// The stream has ended in order.
    pub complete: bool,
}

impl Response {
    /// `:status` as a number; 0 where there is none.
    pub fn status(&self) -> u16 {
        self.headers.text(":status").and_then(|status| status.parse().ok()).unwrap_or_default()
    }

    /// The body so far, with what is not UTF-8 replaced.
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
