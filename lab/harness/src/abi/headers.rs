//! A header map that behaves as Envoy's `HeaderMapImpl`: lower-case names, pseudo-headers first, values as bytes; and the
//! wire format of header lists: a count, the lengths, then names and values, each followed by NUL. A response has them.

use std::fmt;

/// An ordered list of headers. Names are lower-case; values are bytes and need not be UTF-8.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(Vec<u8>, Vec<u8>)>);

impl Headers {
    /// The first value of `name`, as `proxy_get_header_map_value` returns it.
    pub fn get(&self, name: impl AsRef<[u8]>) -> Option<&[u8]> {
        let name = name.as_ref();
        self.0.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_slice())
    }

    /// The first value of `name`, if it is UTF-8.
    pub fn text(&self, name: impl AsRef<[u8]>) -> Option<&str> {
        self.get(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// This map with one more header.
    pub fn with(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.add(name.as_ref(), value.as_ref());
        self
    }

    pub fn without(mut self, name: impl AsRef<[u8]>) -> Self {
        self.remove(name.as_ref());
        self
    }

    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter().map(|(name, value)| (name.as_slice(), value.as_slice()))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// This map with one more line at the end, never joined to another, as in nginx.
    pub fn and(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.push(name.as_ref(), value.as_ref());
        self
    }

    /// A line at the end, as [`Headers::and`] adds it.
    pub(crate) fn push(&mut self, name: &[u8], value: &[u8]) {
        self.0.push((name.to_ascii_lowercase(), value.to_vec()));
    }

    pub(crate) fn get_mut(&mut self, name: &[u8]) -> Option<&mut Vec<u8>> {
        self.0.iter_mut().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub(crate) fn keep_first(&mut self, name: &[u8]) {
        let mut seen = false;
        self.0.retain(|(key, _)| !key.eq_ignore_ascii_case(name) || !std::mem::replace(&mut seen, true));
    }

    pub(crate) fn of_lines<'a>(lines: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Self {
        lines.into_iter().fold(Self::default(), |headers, (name, value)| headers.and(name, value))
    }

    /// `HeaderMapImpl::addCopy`: joins a second value of a single-entry header to the first with a comma; other headers
    /// repeat. Pseudo-headers go before all others.
    pub(crate) fn add(&mut self, name: &[u8], value: &[u8]) {
        let name = name.to_ascii_lowercase();
        if let Some((_, present)) = self.0.iter_mut().find(|(key, _)| *key == name && is_single(&name)) {
            present.push(b',');
            present.extend_from_slice(value);
            return;
        }
        let at = match name.first() {
            Some(b':') => self.0.iter().take_while(|(key, _)| key.first() == Some(&b':')).count(),
            _ => self.0.len(),
        };
        self.0.insert(at, (name, value.to_vec()));
    }

    /// `HeaderMapImpl::setCopy`: removes all values and appends the new one.
    pub(crate) fn set(&mut self, name: &[u8], value: &[u8]) {
        self.remove(name);
        self.add(name, value);
    }

    pub(crate) fn remove(&mut self, name: &[u8]) {
        self.0.retain(|(key, _)| !key.eq_ignore_ascii_case(name));
    }

    /// `Http::Utility::isUpgrade`: an `upgrade` header, and `connection` lists it.
    pub(crate) fn is_upgrade(&self) -> bool {
        self.get("upgrade").is_some() && self.lists("connection", "upgrade")
    }

    /// Whether a body can follow in Envoy's HTTP/1 codec: after an upgrade, `CONNECT`, a length or chunked encoding.
    pub(crate) fn announces_body(&self) -> bool {
        self.is_upgrade()
            || self.get(":method") == Some(b"CONNECT")
            || self.lists("transfer-encoding", "chunked")
            || self.text("content-length").is_some_and(|length| length.trim() != "0")
    }

    /// A list on the wire, as cpp-host's `PairsUtil::marshalPairs` writes it.
    pub(crate) fn to_pairs(&self) -> Vec<u8> {
        let mut out = length(self.len()).to_vec();
        for (name, value) in self.iter() {
            out.extend([length(name.len()), length(value.len())].concat());
        }
        for (name, value) in self.iter() {
            out.extend([name, b"\0", value, b"\0"].concat());
        }
        out
    }

    /// Reads a list as cpp-host's `PairsUtil::toPairs`; `None` if it is malformed.
    pub(crate) fn from_pairs(bytes: &[u8]) -> Option<Self> {
        let (count, mut lengths) = take_u32(bytes)?;
        if bytes.len() > MAX_BYTES || count > MAX_PAIRS {
            return None;
        }
        let mut text = lengths.get((count as usize).checked_mul(8)?..)?;
        let mut headers = Self::default();
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

    fn lists(&self, name: &str, token: &str) -> bool {
        self.text(name)
            .is_some_and(|list| list.split(',').any(|item| item.trim().eq_ignore_ascii_case(token)))
    }
}

/// Headers that Envoy keeps as a single entry (`INLINE_*_HEADERS` in `envoy/http/header_map.h`), as far as they matter
/// here. `origin` is registered by the CORS filter, which every full build of Envoy has.
fn is_single(name: &[u8]) -> bool {
    const SINGLE: [&[u8]; 17] = [
        b":authority",
        b":method",
        b":path",
        b":protocol",
        b":scheme",
        b":status",
        b"connection",
        b"content-length",
        b"content-type",
        b"expect",
        b"grpc-message",
        b"grpc-status",
        b"origin",
        b"te",
        b"transfer-encoding",
        b"upgrade",
        b"user-agent",
    ];
    SINGLE.contains(&name)
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

impl<K: AsRef<[u8]>, V: AsRef<[u8]>> FromIterator<(K, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        pairs.into_iter().fold(Self::default(), |headers, (name, value)| headers.with(name, value))
    }
}

impl<K: AsRef<[u8]>, V: AsRef<[u8]>, const N: usize> From<[(K, V); N]> for Headers {
    fn from(pairs: [(K, V); N]) -> Self {
        pairs.into_iter().collect()
    }
}

impl<K: AsRef<[u8]>, V: AsRef<[u8]>> From<&[(K, V)]> for Headers {
    fn from(pairs: &[(K, V)]) -> Self {
        pairs.iter().map(|(name, value)| (name, value)).collect()
    }
}

impl From<&Self> for Headers {
    fn from(headers: &Self) -> Self {
        headers.clone()
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        f.debug_list()
            .entries(self.iter().map(|(name, value)| format!("{}: {}", text(name), text(value))))
            .finish()
    }
}

/// The response so far, as the client has received it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Response {
    pub headers: Headers,
    pub body: Vec<u8>,
    /// `None` if there are none, or none yet.
    pub trailers: Option<Headers>,
    /// The stream has ended without a reset.
    pub complete: bool,
}

impl Response {
    /// `:status` as a number; 0 if there is none.
    pub fn status(&self) -> u16 {
        self.headers.text(":status").and_then(|status| status.parse().ok()).unwrap_or_default()
    }

    /// The body so far; invalid UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("headers", &self.headers)
            .field("body", &format_args!("\"{}\"", self.body.escape_ascii()))
            .field("trailers", &self.trailers)
            .field("complete", &self.complete)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_header_is_joined_and_others_repeat() {
        let headers = Headers::from([("Accept", "a"), ("accept", "b"), ("Upgrade", "x"), ("upgrade", "y")]);
        let pairs: Vec<_> = headers.iter().collect();
        assert_eq!(pairs, [(&b"accept"[..], &b"a"[..]), (b"accept", b"b"), (b"upgrade", b"x,y")]);
    }
}
