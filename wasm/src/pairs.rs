//! Header lists as they are passed to and from the host: a count, the lengths of each name and value, then each name
//! and value with a zero byte after it. Integers are 32 bits, little endian.

/// A header: its name in lower case, and its value.
pub type Header = (Vec<u8>, Vec<u8>);

/// Reads a header map, with names in lower case. Headers that are cut off are dropped.
pub fn read(map: &[u8]) -> Vec<Header> {
    let Some((count, mut lengths)) = integer(map) else { return Vec::new() };
    let Some(mut text) = count.checked_mul(8).and_then(|len| lengths.get(len..)) else { return Vec::new() };
    let mut headers = Vec::new();
    for _ in 0..count {
        let Some((name_len, rest)) = integer(lengths) else { break };
        let Some((value_len, rest)) = integer(rest) else { break };
        lengths = rest;
        let Some((name, rest)) = terminated(text, name_len) else { break };
        let Some((value, rest)) = terminated(rest, value_len) else { break };
        text = rest;
        headers.push((name.to_ascii_lowercase(), value.to_vec()));
    }
    headers
}

/// The last value of a header: nginx lists pseudo-headers after the headers that the client sent.
pub fn last<'a>(headers: &'a [Header], name: &str) -> Option<&'a [u8]> {
    let last = headers.iter().rfind(|(other, _)| other == name.as_bytes());
    last.map(|(_, value)| value.as_slice())
}

/// All values of a header in one list, in order. RFC 9110, section 5.3: "A recipient MAY combine multiple field lines
/// within a field section that have the same field name into one field line". A header that must not be a list becomes an
/// invalid value.
pub fn joined(headers: &[Header], name: &str) -> Option<Vec<u8>> {
    let lines = headers.iter().filter(|(other, _)| other == name.as_bytes());
    let lines: Vec<&[u8]> = lines.map(|(_, value)| value.as_slice()).collect();
    (!lines.is_empty()).then(|| lines.join(&b", "[..]))
}

/// A header map as [`read`] reads it.
pub fn write<N: AsRef<[u8]>, V: AsRef<[u8]>>(headers: &[(N, V)]) -> Vec<u8> {
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
    let mut map = u32::try_from(headers.len()).unwrap_or(u32::MAX).to_le_bytes().to_vec();
    for (name, value) in headers {
        map.extend_from_slice(&length(name.as_ref()));
        map.extend_from_slice(&length(value.as_ref()));
    }
    for (name, value) in headers {
        for text in [name.as_ref(), value.as_ref()] {
            map.extend_from_slice(text);
            map.push(0);
        }
    }
    map
}

fn integer(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (integer, rest) = bytes.split_first_chunk::<4>()?;
    Some((usize::try_from(u32::from_le_bytes(*integer)).ok()?, rest))
}

fn terminated(bytes: &[u8], len: usize) -> Option<(&[u8], &[u8])> {
    let (text, rest) = bytes.split_at_checked(len)?;
    Some((text, rest.get(1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_map_is_read_back() {
        let headers = [("a", &b"1"[..]), ("", b""), ("a", b"\xff\0"), ("b", b"")];
        let read = read(&write(&headers));
        let want = headers.map(|(name, value)| (name.as_bytes().to_vec(), value.to_vec()));
        assert_eq!(read, want);
    }

    #[test]
    fn names_are_read_in_lower_case() {
        assert_eq!(read(&write(&[("X-Key", "A")])), [(b"x-key".to_vec(), b"A".to_vec())]);
    }

    #[test]
    fn last_header_of_a_name_is_found() {
        let headers = [("a", "1"), ("b", "2"), ("a", "3")].map(|(name, value)| (name.into(), value.into()));
        assert_eq!(last(&headers, "a"), Some(&b"3"[..]));
        assert_eq!(last(&headers, "c"), None);
        assert_eq!(joined(&headers, "a").as_deref(), Some(&b"1, 3"[..]));
        assert_eq!(joined(&headers, "c"), None);
    }

    #[test]
    fn map_cut_at_any_byte_reads_as_its_front() {
        let whole = write(&[("one", "1"), ("two", "22")]);
        let headers = read(&whole);
        for cut in 0..whole.len() {
            let part = read(&whole[..cut]);
            assert!(part.len() < headers.len() && headers.starts_with(&part), "cut at byte {cut}");
        }
    }
}
