//! The wire format of header lists: a count, the lengths, then names and values, each followed by NUL.

use super::headers::Headers;

/// Reads a list as cpp-host's `PairsUtil::toPairs`: a malformed list is empty, not an error.
pub(crate) fn read(bytes: &[u8]) -> Headers {
    parse(bytes).unwrap_or_default()
}

/// Writes a list as cpp-host's `PairsUtil::marshalPairs`.
pub(crate) fn write(headers: &Headers) -> Vec<u8> {
    let mut out = length(headers.len()).to_vec();
    for (name, value) in headers.iter() {
        out.extend(length(name.len()));
        out.extend(length(value.len()));
    }
    for (name, value) in headers.iter() {
        out.extend_from_slice(name);
        out.push(0);
        out.extend_from_slice(value);
        out.push(0);
    }
    out
}

/// The same, but a malformed list is `None`.
pub(crate) fn parse(bytes: &[u8]) -> Option<Headers> {
    let (count, mut lengths) = take_u32(bytes)?;
    if bytes.len() > MAX_BYTES || count > MAX_PAIRS {
        return None;
    }
    let mut text = lengths.get((count as usize).checked_mul(8)?..)?;
    let mut headers = Headers::default();
    for _ in 0..count {
        let (name_length, rest) = take_u32(lengths)?;
        let (value_length, rest) = take_u32(rest)?;
        lengths = rest;
        let (name, rest) = take_text(text, name_length)?;
        let (value, rest) = take_text(rest, value_length)?;
        text = rest;
        headers.add(name, value);
    }
    text.is_empty().then_some(headers)
}

fn take_u32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (head, rest) = bytes.split_first_chunk()?;
    Some((u32::from_le_bytes(*head), rest))
}

fn take_text(bytes: &[u8], length: u32) -> Option<(&[u8], &[u8])> {
    let (text, rest) = bytes.split_at_checked(length as usize)?;
    let (end, rest) = rest.split_first()?;
    (*end == 0).then_some((text, rest))
}

/// Lengths have 32 bits; a 32-bit module has no longer lists.
fn length(n: usize) -> [u8; 4] {
    u32::try_from(n).unwrap_or(u32::MAX).to_le_bytes()
}

/// cpp-host, `limits.h`: a longer serialized list reads as empty.
const MAX_BYTES: usize = 1024 * 1024;

/// cpp-host, `limits.h`: a list of more pairs reads as empty.
const MAX_PAIRS: u32 = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_list_reads_back_and_every_cut_reads_as_empty() {
        let headers = Headers::from([("a", &b""[..]), ("", b"\xff\x00"), ("name", b"value")]);
        let wire = write(&headers);
        assert_eq!(read(&wire), headers);
        for cut in 0..wire.len() {
            assert_eq!(read(&wire[..cut]), Headers::default(), "cut at byte {cut}");
        }
    }

    #[test]
    fn oversized_list_reads_as_empty() {
        let many: Headers = (0..1024).map(|n| (n.to_string(), "")).collect();
        assert_eq!(read(&write(&many)).len(), 1024);
        assert_eq!(read(&write(&many.with("one", "more"))).len(), 0);
        assert_eq!(read(&write(&Headers::from([("a", vec![b'x'; MAX_BYTES])]))).len(), 0);
    }
}
