//! Header lines as nginx keeps them: one entry per line, never joined, in order of arrival, without pseudo-headers.

use crate::abi::headers::Headers;

/// H, `ngx_http_set_builtin_header`: for a header known to nginx, a second value overwrites the first.
pub(super) fn add(lines: &mut Headers, name: &[u8], value: &[u8]) {
    match lines.get_mut(name) {
        Some(first) if is_known(name) && !value.is_empty() => *first = value.to_vec(),
        _ => lines.push(name, value),
    }
}

/// H, `ngx_http_set_header_helper`: sets the first line and removes the others; an empty value removes all. For a header
/// known to nginx, the other lines stay.
pub(super) fn replace(lines: &mut Headers, name: &[u8], value: &[u8]) {
    if value.is_empty() {
        return lines.remove(name);
    }
    let Some(first) = lines.get_mut(name) else { return lines.push(name, value) };
    *first = value.to_vec();
    if !is_known(name) {
        lines.keep_first(name);
    }
}

fn is_known(name: &[u8]) -> bool {
    KNOWN.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(name))
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

    #[track_caller]
    fn check(act: fn(&mut Headers, &[u8], &[u8]), name: &str, value: &str, want: &str) {
        let lines = [("Upgrade", "a"), ("X", "1"), ("upgrade", "b"), ("x", "2"), ("y", "3")];
        let mut lines =
            lines.into_iter().fold(Headers::default(), |lines, (name, value)| lines.and(name, value));
        act(&mut lines, name.as_bytes(), value.as_bytes());
        let got: Vec<_> = lines.iter().map(|(name, value)| [name, b"=", value].concat()).collect();
        assert_eq!(String::from_utf8(got.join(&b' ')).unwrap(), want);
    }

    #[test]
    fn lines_are_written_by_nginxs_rules() {
        check(add, "X", "9", "upgrade=a x=1 upgrade=b x=2 y=3 x=9");
        check(add, "Upgrade", "9", "upgrade=9 x=1 upgrade=b x=2 y=3");
        check(add, "Host", "9", "upgrade=a x=1 upgrade=b x=2 y=3 host=9");
        check(replace, "X", "9", "upgrade=a x=9 upgrade=b y=3");
        check(replace, "upgrade", "9", "upgrade=9 x=1 upgrade=b x=2 y=3");
        check(replace, "z", "9", "upgrade=a x=1 upgrade=b x=2 y=3 z=9");
        check(replace, "upgrade", "", "x=1 x=2 y=3");
    }
}
