//! Header lines as nginx keeps them: one entry per line, never joined, in order of arrival.

use crate::abi::headers::Headers;

/// Names are lower-case; there are no pseudo-headers.
#[derive(Clone, Default)]
pub(crate) struct Lines(Vec<(Vec<u8>, Vec<u8>)>);

impl Lines {
    /// A, `ngx_http_wasm_req_get_header`: the first line of that name, in any case.
    pub(crate) fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.0.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_slice())
    }

    pub(crate) fn push(&mut self, name: &[u8], value: &[u8]) {
        self.0.push((name.to_ascii_lowercase(), value.to_vec()));
    }

    /// H, `ngx_http_set_builtin_header`: for a header known to nginx, a second value overwrites the first.
    pub(crate) fn add(&mut self, name: &[u8], value: &[u8]) {
        match self.known(name) {
            Some(first) if !value.is_empty() => *first = value.to_vec(),
            _ => self.push(name, value),
        }
    }

    /// H, `ngx_http_set_header_helper`: sets the first line and removes the others; an empty value removes all. For a
    /// header known to nginx, the other lines stay.
    pub(crate) fn replace(&mut self, name: &[u8], value: &[u8]) {
        if value.is_empty() {
            return self.remove(name);
        }
        if let Some(first) = self.known(name) {
            *first = value.to_vec();
            return;
        }
        let first = self.0.iter().position(|(key, _)| key.eq_ignore_ascii_case(name));
        match first.and_then(|at| self.0.get_mut(at)) {
            Some((_, present)) => *present = value.to_vec(),
            None => return self.push(name, value),
        }
        let mut seen = false;
        self.0.retain(|(key, _)| !key.eq_ignore_ascii_case(name) || !std::mem::replace(&mut seen, true));
    }

    pub(crate) fn remove(&mut self, name: &[u8]) {
        self.0.retain(|(key, _)| !key.eq_ignore_ascii_case(name));
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter().map(|(name, value)| (name.as_slice(), value.as_slice()))
    }

    /// These pseudo-headers, then the lines.
    pub(crate) fn with_pseudo<'a>(
        &'a self,
        pseudo: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Headers {
        Headers::of_lines(pseudo.into_iter().chain(self.iter()))
    }

    fn known(&mut self, name: &[u8]) -> Option<&mut Vec<u8>> {
        let known = KNOWN.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(name));
        let first = self.0.iter_mut().find(|(key, _)| key.eq_ignore_ascii_case(name));
        first.filter(|_| known).map(|(_, value)| value)
    }
}

/// H, `ngx_http_lua_set_handlers`: the headers whose handler is `ngx_http_set_builtin_header`.
const KNOWN: [&str; 17] = [
    "accept-encoding",
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "expect",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "keep-alive",
    "range",
    "referer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn lines() -> Lines {
        let mut lines = Lines::default();
        for (name, value) in [("Upgrade", "a"), ("X", "1"), ("upgrade", "b"), ("x", "2"), ("y", "3")] {
            lines.push(name.as_bytes(), value.as_bytes());
        }
        lines
    }

    #[track_caller]
    fn check(act: impl Fn(&mut Lines), want: &str) {
        let mut lines = lines();
        act(&mut lines);
        let got: Vec<_> = lines.iter().map(|(name, value)| [name, b"=", value].concat()).collect();
        assert_eq!(String::from_utf8(got.join(&b' ')).unwrap(), want);
    }

    #[test]
    fn lines_are_written_by_nginxs_rules() {
        check(|lines| lines.add(b"X", b"9"), "upgrade=a x=1 upgrade=b x=2 y=3 x=9");
        check(|lines| lines.add(b"Upgrade", b"9"), "upgrade=9 x=1 upgrade=b x=2 y=3");
        check(|lines| lines.add(b"Host", b"9"), "upgrade=a x=1 upgrade=b x=2 y=3 host=9");
        check(|lines| lines.replace(b"X", b"9"), "upgrade=a x=9 upgrade=b y=3");
        check(|lines| lines.replace(b"upgrade", b"9"), "upgrade=9 x=1 upgrade=b x=2 y=3");
        check(|lines| lines.replace(b"z", b"9"), "upgrade=a x=1 upgrade=b x=2 y=3 z=9");
        check(|lines| lines.replace(b"upgrade", b""), "x=1 x=2 y=3");
        check(|lines| lines.remove(b"X"), "upgrade=a upgrade=b y=3");
        check(|lines| lines.remove(b"z"), "upgrade=a x=1 upgrade=b x=2 y=3");
        assert_eq!((lines().get(b"X"), lines().len()), (Some(&b"1"[..]), 5));
    }
}
