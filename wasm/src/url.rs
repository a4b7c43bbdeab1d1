//! The characters allowed in a request's path.

/// The path, query and fragment as text; None if a character is not allowed in URLs (RFC 3986). Some HTTP/2 servers
/// close the connection on such characters, and all clients of a gateway share it.
pub fn text(path: &[u8]) -> Option<&str> {
    std::str::from_utf8(path).ok().filter(|path| path.bytes().all(is_of_url))
}

/// Unreserved, reserved or percent (RFC 3986, section 2), without the brackets that only a host can contain.
fn is_of_url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:/?#@!$&'()*+,;=%".contains(&byte)
}

/// The reason given to the client.
pub const EXPECTED: &str = "the path has a character that is not allowed in URLs";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_only_the_characters_of_urls() {
        for byte in 0..=u8::MAX {
            let expected = byte.is_ascii_graphic() && !b"\"<>[\\]^`{|}".contains(&byte);
            assert_eq!(text(&[b'/', byte]).is_some(), expected, "byte {byte:#04x}");
        }
    }
}
