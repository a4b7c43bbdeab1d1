//! The token of a client, which the bridge verifies: where it is in a request, and the request without it.

use sluicegate_protocol::metadata::MAX_TOKEN_BYTES;
use sluicegate_ws_session::handshake::TOKEN_SUBPROTOCOL;

use crate::pairs::{self, Header};

/// Where clients of a route can put their token, beside `Authorization` and a subprotocol.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places {
    /// A parameter of the query.
    pub query: Option<String>,
    /// A cookie.
    pub cookie: Option<String>,
}

/// A token, and what is left of the request without it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The token: of the first place in the order of the fields below, then of the cookie.
    pub token: Option<Vec<u8>>,
    /// Whether `Authorization` has one.
    pub is_authorization: bool,
    /// `Sec-WebSocket-Protocol` without it, if that had one.
    pub protocols: Option<Vec<u8>>,
    /// `:path` without it, if the query had one.
    pub path: Option<Vec<u8>>,
}

/// Finds the token of a request.
pub fn find(headers: &[Header], places: &Places) -> Found {
    let header = |name: &str| pairs::last(headers, name);
    let authorization = header("authorization").and_then(bearer);
    let offered = pairs::joined(headers, "sec-websocket-protocol");
    let (protocol, protocols) = offered.as_deref().map(of_protocols).unwrap_or_default();
    let path = header(":path").unwrap_or_default();
    let (parameter, path) = match &places.query {
        Some(name) => of_query(path, name.as_bytes()),
        None => (None, None),
    };
    let cookies = headers.iter().filter(|(name, _)| name == b"cookie").map(|(_, value)| value.as_slice());
    let cookie = places.cookie.as_ref().and_then(|name| of_cookies(cookies, name.as_bytes()));
    Found {
        is_authorization: authorization.is_some(),
        token: authorization.or(protocol).or(parameter).or(cookie).map(<[u8]>::to_vec),
        protocols,
        path,
    }
}

/// Whether the bridge can be given a token.
pub fn can_be_one(token: &[u8]) -> bool {
    token.len() <= MAX_TOKEN_BYTES && token.iter().all(u8::is_ascii_graphic)
}

/// RFC 6750, section 2.1, and RFC 9110, section 11.1: the scheme in any case.
fn bearer(authorization: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = authorization.split_at_checked(SCHEME.len())?;
    scheme.eq_ignore_ascii_case(SCHEME).then(|| token.trim_ascii())
}

/// The token among subprotocols, and the others.
fn of_protocols(protocols: &[u8]) -> (Option<&[u8]>, Option<Vec<u8>>) {
    let items = || protocols.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let token = items().find_map(|item| item.strip_prefix(PROTOCOL));
    let is_other = |item: &&[u8]| !item.is_empty() && !item.starts_with(PROTOCOL);
    let others = items().filter(is_other).collect::<Vec<_>>().join(&b", "[..]);
    (token, token.map(|_| others))
}

/// The parameter `name` of a query, and the path without it. A fragment is left alone.
fn of_query<'a>(path: &'a [u8], name: &[u8]) -> (Option<&'a [u8]>, Option<Vec<u8>>) {
    let at = |byte: u8| path.iter().position(|other| *other == byte).unwrap_or(path.len());
    let (before, fragment) = path.split_at_checked(at(b'#')).unwrap_or((path, b""));
    let Some((start, query)) = before.split_at_checked(at(b'?').min(before.len())) else {
        return (None, None);
    };
    let query = query.strip_prefix(b"?").unwrap_or_default();
    let value = |pair: &'a [u8]| pair.strip_prefix(name).and_then(|rest| rest.strip_prefix(b"="));
    let token = query.split(|byte| *byte == b'&').find_map(value);
    if token.is_none() {
        return (None, None);
    }
    let others: Vec<&[u8]> = query.split(|byte| *byte == b'&').filter(|pair| value(pair).is_none()).collect();
    let mark: &[u8] = if others.is_empty() { b"" } else { b"?" };
    (token, Some([start, mark, &others.join(&b'&'), fragment].concat()))
}

/// RFC 6265, section 4.2.1: pairs, separated by semicolons. HTTP/2 can have a header for each (RFC 9113, section
/// 8.2.3).
fn of_cookies<'a>(cookies: impl Iterator<Item = &'a [u8]>, name: &[u8]) -> Option<&'a [u8]> {
    let mut pairs = cookies.flat_map(|cookies| cookies.split(|byte| *byte == b';')).map(<[u8]>::trim_ascii);
    let value = pairs.find_map(|pair| pair.strip_prefix(name)?.strip_prefix(b"="))?;
    // RFC 6265, section 4.1.1: "cookie-value = *cookie-octet / ( DQUOTE *cookie-octet DQUOTE )"
    Some(value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value))
}

/// The form of a token.
pub const EXPECTED: &str = "the token is not a JSON Web Token of at most 8192 bytes";
const SCHEME: &[u8] = b"bearer ";
const PROTOCOL: &[u8] = TOKEN_SUBPROTOCOL.as_bytes();

#[cfg(test)]
mod tests {
    use super::*;

    fn of(headers: &[(&str, &str)]) -> Found {
        let bytes = |(name, value): &(&str, &str)| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
        let headers: Vec<Header> = headers.iter().map(bytes).collect();
        find(&headers, &Places { query: Some("access_token".into()), cookie: Some("sid".into()) })
    }

    #[track_caller]
    fn check(headers: &[(&str, &str)], token: Option<&str>) {
        assert_eq!(of(headers).token.as_deref(), token.map(str::as_bytes), "{headers:?}");
    }

    #[test]
    fn token_is_found_in_each_place() {
        check(&[("authorization", "Bearer a.b.c")], Some("a.b.c"));
        check(&[("authorization", "bEARER  a.b.c ")], Some("a.b.c"));
        check(&[("sec-websocket-protocol", "sluicegate.v1, sluicegate.token.a.b.c")], Some("a.b.c"));
        let lines = ["sluicegate.token.a.b.c", "sluicegate.v1"].map(|line| ("sec-websocket-protocol", line));
        check(&lines, Some("a.b.c"));
        assert_eq!(of(&lines).protocols.as_deref(), Some(&b"sluicegate.v1"[..]));
        check(&[(":path", "/p?x=1&access_token=a.b.c#f")], Some("a.b.c"));
        check(&[("cookie", "theme=dark; sid=a.b.c; sid=second")], Some("a.b.c"));
        check(&[("cookie", "theme=dark"), ("cookie", "sid=\"a.b.c\"")], Some("a.b.c"));
    }

    #[test]
    fn other_words_are_no_token() {
        check(&[], None);
        check(&[("authorization", "Basic YTpi")], None);
        check(&[("authorization", "Bearer")], None);
        check(&[("sec-websocket-protocol", "sluicegate.v1.json, token")], None);
        check(&[(":path", "/p?xaccess_token=a&access_tokens=b#?access_token=c")], None);
        check(&[(":path", "/p#access_token=c")], None);
        check(&[("cookie", "xsid=a; sid2=b; sid")], None);
    }

    #[test]
    fn first_place_wins_and_none_keeps_its_token() {
        let found = of(&[
            ("authorization", "Bearer one"),
            ("sec-websocket-protocol", "sluicegate.token.two,sluicegate.v1.json"),
            (":path", "/p?access_token=three"),
            ("cookie", "sid=four"),
        ]);
        let want = Found {
            token: Some(b"one".to_vec()),
            is_authorization: true,
            protocols: Some(b"sluicegate.v1.json".to_vec()),
            path: Some(b"/p".to_vec()),
        };
        assert_eq!(found, want);
    }

    #[test]
    fn rest_of_the_query_stays_as_it_is() {
        for (path, want) in [
            ("/p?access_token=t", "/p"),
            ("/p?access_token=t&a=1", "/p?a=1"),
            ("/p?a=1&access_token=t&b=%20&access_token=u", "/p?a=1&b=%20"),
            ("/p?a&access_token=#f?x", "/p?a#f?x"),
            ("?access_token=t#", "#"),
        ] {
            assert_eq!(of(&[(":path", path)]).path.as_deref(), Some(want.as_bytes()), "{path}");
        }
        assert_eq!(of(&[(":path", "/p?a=1")]).path, None);
        assert_eq!(of(&[("sec-websocket-protocol", "sluicegate.token.x")]).protocols, Some(Vec::new()));
    }
}
