//! A request's headers.

use http::HeaderMap;

use super::problem::{Problem, ProblemKind};

/// A request's headers, as the gateway forwarded them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Headers<'a>(pub(super) &'a HeaderMap);

impl<'a> Headers<'a> {
    /// The values of all lines with this name, which together form one list (RFC 9110, section 5.3).
    pub(super) fn all(self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.0.get_all(name).into_iter().map(|value| value.as_bytes())
    }

    /// The value of a header that is not a list.
    ///
    /// # Errors
    /// The header is repeated.
    pub(super) fn one(self, name: &str) -> Result<Option<&'a [u8]>, Problem> {
        let mut lines = self.all(name);
        let value = lines.next();
        if lines.next().is_some() {
            let detail = format!("header {name} is repeated: expected it once");
            return Err(Problem::new(ProblemKind::Malformed, detail));
        }
        Ok(value)
    }

    /// The same for a text.
    ///
    /// # Errors
    /// The header is repeated, or not UTF-8.
    pub(super) fn text(self, name: &str) -> Result<Option<&'a str>, Problem> {
        let Some(value) = self.one(name)? else { return Ok(None) };
        let text = std::str::from_utf8(value);
        let text =
            text.map_err(|_| Problem::new(ProblemKind::Malformed, format!("header {name}: expected UTF-8")));
        text.map(|text| Some(text.trim_ascii()))
    }

    /// The media type of the body, in lower case and without parameters. Empty if the header is missing.
    ///
    /// # Errors
    /// See [`Headers::text`]; also if it has several types, because gateways join repeated lines.
    pub(super) fn content_type(self) -> Result<String, Problem> {
        let value = self.text("content-type")?.unwrap_or_default();
        let (essence, _) = value.split_once(';').unwrap_or((value, ""));
        let essence = essence.trim_ascii().to_ascii_lowercase();
        if essence.contains(',') {
            return Err(Problem::new(ProblemKind::Malformed, "header content-type: expected one media type"));
        }
        Ok(essence)
    }

    /// Checks that the body is not encoded.
    ///
    /// # Errors
    /// The body is encoded.
    pub(super) fn check_content_encoding(self) -> Result<(), Problem> {
        let codings = self.all("content-encoding").flat_map(|line| line.split(|byte| *byte == b','));
        for coding in codings.map(<[u8]>::trim_ascii) {
            if !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity") {
                let detail = "encoded body: expected it without Content-Encoding";
                return Err(Problem::new(ProblemKind::UnsupportedMediaType, detail));
            }
        }
        Ok(())
    }

    /// Whether the client prefers `respond-async` (RFC 7240, section 4.1).
    pub(super) fn prefer_async(self) -> bool {
        let preferences = self.all("prefer").flat_map(elements);
        let mut names = preferences.map(|preference| {
            let end = preference.iter().position(|byte| b"=;".contains(byte)).unwrap_or(preference.len());
            preference.get(..end).unwrap_or_default().trim_ascii()
        });
        names.any(|name| name.eq_ignore_ascii_case(b"respond-async"))
    }
}

/// The elements of a list. A comma in a quoted string does not separate.
fn elements(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    line.split(move |byte| {
        quoted ^= *byte == b'"' && !escaped;
        escaped = quoted && *byte == b'\\' && !escaped;
        *byte == b',' && !quoted
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check_problem, headers};
    use super::*;

    #[test]
    fn respond_async_is_found_in_a_list() {
        for (prefer, want) in [
            ("respond-async", true),
            ("wait=10, Respond-Async", true),
            ("a=\"x,\\\"y\", respond-async; p", true),
            ("respond-async=\"\"", true),
            ("", false),
            ("respond", false),
            ("x=respond-async", false),
            ("a=\", respond-async, \"", false),
            ("return=minimal;respond-async", false),
        ] {
            assert_eq!(Headers(&headers(&[("prefer", prefer)])).prefer_async(), want, "{prefer}");
        }
        assert!(Headers(&headers(&[("prefer", "a"), ("prefer", "respond-async")])).prefer_async());
    }

    #[test]
    fn body_needs_one_type_and_no_encoding() {
        let one = headers(&[("content-type", " Application/JSON ; charset=utf-8")]);
        assert_eq!(Headers(&one).content_type().unwrap(), "application/json");
        assert_eq!(Headers(&HeaderMap::new()).content_type().unwrap(), "");
        let twice = headers(&[("content-type", "a/b"), ("content-type", "a/b")]);
        for two in [twice, headers(&[("content-type", "a/b, a/b; c=d")])] {
            check_problem(Headers(&two).content_type().unwrap_err(), 400, "");
        }
        let encodings = [("", true), ("identity", true), ("Identity, identity", true)];
        for (encoding, fits) in encodings.into_iter().chain([("gzip", false), ("identity, br", false)]) {
            let headers = headers(&[("content-encoding", encoding)]);
            assert_eq!(Headers(&headers).check_content_encoding().is_ok(), fits, "{encoding}");
        }
    }
}
