//! The chunked transfer coding (RFC 9112, section 7.1), in the body of a refused upgrade.

use httparse::{Status, parse_chunk_size};

/// Decodes `coded` up to its end, even within a chunk, or up to the first invalid chunk.
pub(crate) fn decode(mut coded: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Status::Complete((head, size @ 1..))) = parse_chunk_size(coded) {
        let rest = coded.get(head..).unwrap_or_default();
        let (data, rest) = rest.split_at(usize::try_from(size).unwrap_or(usize::MAX).min(rest.len()));
        body.extend_from_slice(data);
        coded = rest.strip_prefix(b"\r\n").unwrap_or_default();
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_decoded_up_to_any_cut() {
        let coded = b"5\r\nHTTP \r\nC;x=y\r\nat any\r\nrate\r\n0\r\na: b\r\n\r\n";
        let want = b"HTTP at any\r\nrate";
        let lengths: Vec<usize> = (0..=coded.len())
            .map(|cut| {
                let body = decode(&coded[..cut]);
                assert!(want.starts_with(&body), "{cut}: {body:?}");
                body.len()
            })
            .collect();
        assert!(lengths.is_sorted() && lengths.last() == Some(&want.len()), "{lengths:?}");
    }

    #[test]
    fn invalid_chunk_ends_the_body() {
        for coded in ["", "\r\n", "404\n", "x\r\nabc", "-1\r\nabc", "fffffffffffffffffffff\r\nabc"] {
            assert_eq!(decode(coded.as_bytes()), b"", "{coded:?}");
        }
        assert_eq!(decode(b"ffffffffffffffff\r\nabc"), b"abc");
        assert_eq!(decode(b"1\r\nabc\r\n"), b"a");
    }
}
