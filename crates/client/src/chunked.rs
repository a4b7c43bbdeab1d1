//! The chunked transfer coding (RFC 9112, section 7.1), in the body of a refused upgrade.

/// Decodes `coded` up to its end, even within a chunk, or up to the first invalid chunk.
pub(crate) fn decode(mut coded: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some((head, rest)) = line(coded) {
        let Some(size) = size(head).filter(|size| *size > 0) else { break };
        let (data, rest) = rest.split_at(size.min(rest.len()));
        body.extend_from_slice(data);
        coded = rest.strip_prefix(b"\r\n").unwrap_or_default();
    }
    body
}

fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    Some((bytes.get(..end)?, bytes.get(end.checked_add(2)?..)?))
}

/// The hexadecimal size, which extensions can follow.
fn size(head: &[u8]) -> Option<usize> {
    let digits = head.split(|byte| matches!(byte, b';' | b' ' | b'\t')).next()?;
    usize::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
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
