//! Which bytes a request's path can have.

/// A path with its query and fragment as text; None if it has a character that no URL has (RFC 3986). HTTP/2 servers refuse
/// those, some together with the connection, which a gateway's clients share.
pub fn text(path: &[u8]) -> Option<&str> {
    std::str::from_utf8(path).ok().filter(|path| path.bytes().all(is_of_url))
}

/// Unreserved, reserved or percent (RFC 3986, section 2), but for the brackets that only a host can have.
fn is_of_url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:/?#@!$&'()*+,;=%".contains(&byte)
}

/// What a client is told whose path is none.
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
