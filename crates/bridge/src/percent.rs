//! Percent-encoding (RFC 3986, section 2.1) in paths and queries.

use percent_encoding::percent_decode_str;

/// Decodes a part of a path. None if the encoding is invalid or not UTF-8.
pub(crate) fn decoded(text: &str) -> Option<String> {
    let decoded = percent_decode_str(text).decode_utf8().ok().filter(|_| is_encoded(text));
    decoded.map(std::borrow::Cow::into_owned)
}

/// Whether every `%` begins an encoded byte. The crate keeps others as they are.
pub(crate) fn is_encoded(text: &str) -> bool {
    let is_encoded = |after: &str| {
        after.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    text.split('%').skip(1).all(is_encoded)
}

/// Names and values of a query, in their order; None in place of one that cannot be decoded. A plus is a space, as HTML
/// forms and `URLSearchParams` write it (the URL standard, section 5.1): `%2B` is a plus.
pub(crate) fn parameters(query: &str) -> impl Iterator<Item = Option<(String, String)>> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let pair = pair.replace('+', " ");
        let (name, value) = pair.split_once('=').unwrap_or((&pair, ""));
        Some((decoded(name)?, decoded(value)?))
    })
}
