//! A secret value.

use std::fmt;

use subtle::ConstantTimeEq;

/// A secret. It can be compared, in constant time, but is never printed.
#[derive(Clone)]
pub struct Secret(Box<[u8]>);

impl Secret {
    /// Accepts a text that can be a header's value and is too long to be guessed.
    ///
    /// # Errors
    /// The expected form, without the value.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.len() < MIN_LEN {
            return Err(format!("has {} characters, expected at least {MIN_LEN}", text.len()));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("expected printable ASCII without spaces".to_owned());
        }
        Ok(Self(text.as_bytes().into()))
    }

    /// The secret's bytes.
    pub(crate) fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Whether `given` is this secret.
    pub(crate) fn is(&self, given: &[u8]) -> bool {
        self.0.ct_eq(given).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

const MIN_LEN: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_secret_itself_is_accepted_and_none_is_shown() {
        let secret = Secret::parse("0123456789abcdef").unwrap();
        assert!(secret.is(b"0123456789abcdef"));
        for other in [&b""[..], b"0123456789abcde", b"0123456789abcdef0", b"0123456789abcdeF"] {
            assert!(!secret.is(other));
        }
        assert_eq!(format!("{secret:?}"), "Secret(…)");
    }
}
