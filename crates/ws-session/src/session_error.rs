//! Errors that close a session's client, with their close codes.

use sluicegate_protocol::Close;

/// Why a session closes its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionError {
    /// The client broke RFC 6455; the text says how.
    Protocol(&'static str),
    /// The client sent text that is not UTF-8.
    NotUtf8,
    /// The client of a JSON session sent a binary message.
    NotText,
    /// The client of a protobuf session sent text.
    NotBinary,
    /// A message is longer than the route allows.
    MessageTooBig {
        /// Bytes allowed.
        max: usize,
    },
    /// The unfinished message was evicted: its source held too much, and it was the oldest.
    Evicted,
    /// The client sent many frames at a time when those of its source were too many already.
    TooManyFrames,
    /// The allocator has no memory.
    OutOfMemory,
}

impl SessionError {
    /// The close code for the client (RFC 6455, section 7.4.1; 1013 as registered with IANA).
    pub fn code(self) -> u16 {
        match self {
            Self::Protocol(_) => 1002,
            Self::NotText | Self::NotBinary => 1003,
            Self::NotUtf8 => 1007,
            Self::MessageTooBig { .. } => 1009,
            Self::Evicted | Self::TooManyFrames | Self::OutOfMemory => 1013,
        }
    }

    /// The close for the client.
    pub fn close(self) -> Close {
        Close { code: u32::from(self.code()), reason: self.to_string() }
    }
}

impl std::fmt::Display for SessionError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Protocol(what) => f.write_str(what),
            Self::NotUtf8 => f.write_str("text that is not UTF-8"),
            Self::NotText => f.write_str("binary message in a session of JSON: send text messages"),
            Self::NotBinary => f.write_str(
                "text message in a session of protobuf: send binary messages, or offer the subprotocol sluicegate.v1.json",
            ),
            Self::MessageTooBig { max } => write!(f, "message over the limit of {max} bytes"),
            Self::Evicted => {
                f.write_str("unfinished message dropped: too many from this address, try again later")
            }
            Self::TooManyFrames => f.write_str("too many frames at once from this address, try again later"),
            Self::OutOfMemory => f.write_str("out of memory, try again later"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::close::payload;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn reasons_fit_a_close_frame() {
        let errors = [
            SessionError::NotUtf8,
            SessionError::NotText,
            SessionError::NotBinary,
            SessionError::MessageTooBig { max: usize::MAX },
            SessionError::Evicted,
            SessionError::TooManyFrames,
            SessionError::OutOfMemory,
        ];
        for error in errors {
            assert_eq!(payload(&error.close()).len(), 2 + error.to_string().len());
        }
    }
}
