//! The wire format of header lists: a count, the lengths, then names and values, each followed by NUL.

use super::headers::Headers;

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

/// Reads a list as cpp-host's `PairsUtil::toPairs`; `None` if it is malformed.
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
