//! The characters that a request's path can have.

/// The path, query and fragment as text; None if it contains a character that is not allowed in URLs (RFC 3986). Some HTTP/2
/// servers answer those by closing the connection, which all clients of a gateway share.
pub fn text(path: &[u8]) -> Option<&str> {
    std::str::from_utf8(path).ok().filter(|path| path.bytes().all(is_of_url))
}

/// Unreserved, reserved or percent (RFC 3986, section 2), but for the brackets that only a host can have.
fn is_of_url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:/?#@!$&'()*+,;=%".contains(&byte)
}

/// The reason given to the client.
pub const EXPECTED: &str = "the path has a character that no URL has";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_the_characters_of_urls_alone() {
        for byte in 0..=u8::MAX {
            let expected = byte.is_ascii_graphic() && !b"\"<>[\\]^`{|}".contains(&byte);
            assert_eq!(text(&[b'/', byte]).is_some(), expected, "byte {byte:#04x}");
        }
    }
}
