//! The characters allowed in a request's path.

use std::fmt::Write as _;

/// The path, query and fragment with every byte percent-encoded that is not allowed in URLs (RFC 3986); None: all are
/// allowed. Browsers send some of the others in queries (the URL standard, section 1.3), and curl all. Some HTTP/2
/// servers close the connection on them, and all clients of a gateway share it.
pub fn encoded(path: &[u8]) -> Option<String> {
    if path.iter().all(|byte| is_of_url(*byte)) {
        return None;
    }
    let mut encoded = String::with_capacity(path.len().saturating_mul(3));
    for byte in path {
        match is_of_url(*byte) {
            true => encoded.push(char::from(*byte)),
            // Writing to a `String` does not fail.
            false => drop(write!(encoded, "%{byte:02X}")),
        }
    }
    Some(encoded)
}

/// Unreserved, reserved or percent (RFC 3986, section 2), without the brackets that only a host can contain.
fn is_of_url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:/?#@!$&'()*+,;=%".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_characters_than_those_of_urls_are_encoded() {
        for byte in 0..=u8::MAX {
            let is_allowed = byte.is_ascii_graphic() && !b"\"<>[\\]^`{|}".contains(&byte);
            let want = (!is_allowed).then(|| format!("/%{byte:02X}"));
            assert_eq!(encoded(&[b'/', byte]), want, "byte {byte:#04x}");
        }
    }
}
