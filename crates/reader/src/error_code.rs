//! Kafka's error codes.

use std::fmt;

use kafka_protocol::error::ResponseError;

/// An error code of the Kafka protocol. `Display` is Kafka's own name for it, such as `OFFSET_OUT_OF_RANGE`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ErrorCode(pub(crate) ResponseError);

impl ErrorCode {
    /// `None` if `code` is 0, which means success.
    pub(crate) fn of(code: i16) -> Option<Self> {
        ResponseError::try_from_code(code).map(Self)
    }

    pub(crate) fn is_unsupported_version(self) -> bool {
        self.0 == ResponseError::UnsupportedVersion
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let ResponseError::Unknown(code) = self.0 {
            return write!(f, "error code {code}");
        }
        for (at, letter) in self.0.to_string().char_indices() {
            if at > 0 && letter.is_ascii_uppercase() {
                f.write_str("_")?;
            }
            write!(f, "{}", letter.to_ascii_uppercase())?;
        }
        Ok(())
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_is_kafkas_name_and_zero_is_no_error() {
        for (code, want) in [
            (-1, Some("UNKNOWN_SERVER_ERROR")),
            (0, None),
            (1, Some("OFFSET_OUT_OF_RANGE")),
            (3, Some("UNKNOWN_TOPIC_OR_PARTITION")),
            (17, Some("INVALID_TOPIC_EXCEPTION")),
            (9999, Some("error code 9999")),
        ] {
            assert_eq!(ErrorCode::of(code).map(|code| code.to_string()).as_deref(), want);
        }
    }
}
