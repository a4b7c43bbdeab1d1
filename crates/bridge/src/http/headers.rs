//! A request's headers.

use sluicegate_protocol::HttpHeader;

use super::problem::{Fault, Problem};

/// Those that the gateway passed on, names in lower case.
#[derive(Debug, Clone, Copy)]
pub(super) struct Headers<'a>(pub(super) &'a [HttpHeader]);

impl<'a> Headers<'a> {
    /// The values of all lines of this name, which together are one list (RFC 9110, section 5.3).
    pub(super) fn all(self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.0.iter().filter(move |header| header.name == name).map(|header| &header.value[..])
    }

    /// The value of a header that is no list.
    ///
    /// # Errors
    /// It is there more than once, or no UTF-8.
    pub(super) fn one(self, name: &str) -> Result<Option<&'a str>, Problem> {
        let mut lines = self.all(name);
        let Some(value) = lines.next() else { return Ok(None) };
        if lines.next().is_some() {
            let detail = format!("header {name} is there more than once: expected one");
            return Err(Problem::new(Fault::Malformed, detail));
        }
        let text = std::str::from_utf8(value).map_err(|_| {
            Problem::new(Fault::Malformed, format!("header {name} is no UTF-8: expected a text"))
        })?;
        Ok(Some(text.trim_matches([' ', '\t'])))
    }

    /// What a body is, in lower case and without parameters; empty where nothing says so.
    ///
    /// # Errors
    /// As [`Headers::one`].
    pub(super) fn content_type(self) -> Result<String, Problem> {
        let value = self.one("content-type")?.unwrap_or_default();
        let (essence, _) = value.split_once(';').unwrap_or((value, ""));
        Ok(essence.trim_ascii().to_ascii_lowercase())
    }

    /// Checks that a body is there as it is meant.
    ///
    /// # Errors
    /// It is encoded.
    pub(super) fn check_content_encoding(self) -> Result<(), Problem> {
        let codings = self.all("content-encoding").flat_map(|line| line.split(|byte| *byte == b','));
        for coding in codings.map(<[u8]>::trim_ascii) {
            if !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity") {
                let detail = "the body is encoded: expected it without Content-Encoding";
                return Err(Problem::new(Fault::MediaType, detail));
            }
        }
        Ok(())
    }
}
