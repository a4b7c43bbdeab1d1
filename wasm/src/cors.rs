//! Which web pages may use a route of plain HTTP, and what they are told (the Fetch standard, section 3.3).

use crate::config::is_token;
use crate::problem::{Problem, StatusCode};

/// What a route says about web pages.
#[derive(Debug)]
pub struct Cors {
    /// The pages.
    pub origins: Origins,
    /// Whether they may send cookies and the like along; never true for all pages.
    pub credentials: bool,
}

/// Web pages by their origin.
#[derive(Debug)]
pub enum Origins {
    /// All of them.
    Any,
    /// These.
    Listed(Vec<String>),
}

/// The headers of a request that matter here.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked<'a> {
    /// The method.
    pub method: &'a [u8],
    /// `origin`.
    pub origin: Option<&'a [u8]>,
    /// `access-control-request-method`.
    pub request_method: Option<&'a [u8]>,
    /// `access-control-request-headers`.
    pub request_headers: Option<&'a [u8]>,
}

/// What becomes of a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Pass,
    /// It was a preflight: 204 with these headers.
    Preflight(Vec<(&'static str, String)>),
    /// It is refused.
    Refuse(Problem),
}

impl Cors {
    /// Judges a request to a route that answers to `methods`.
    pub fn judge(&self, asked: &Asked<'_>, methods: &str) -> Verdict {
        // A request without it is not from another page.
        let Some(origin) = asked.origin else { return Verdict::Pass };
        if self.allowed(origin).is_none() {
            return Verdict::Refuse(Problem::new(StatusCode::Forbidden, "this Origin may not use this path"));
        }
        if asked.method != b"OPTIONS" || asked.request_method.is_none() {
            return Verdict::Pass;
        }
        let mut headers = vec![
            ("access-control-allow-methods", methods.to_owned()),
            ("access-control-max-age", MAX_AGE.to_owned()),
        ];
        if let Some(names) = asked.request_headers {
            let Some(names) = names_of_headers(names) else {
                let detail = format!(
                    "Access-Control-Request-Headers is expected to list names of headers in at most {MAX_NAMES} bytes"
                );
                return Verdict::Refuse(Problem::new(StatusCode::BadRequest, detail));
            };
            headers.push(("access-control-allow-headers", names.to_owned()));
        }
        Verdict::Preflight(headers)
    }

    /// What every answer to a request from `origin` says, one that refuses it included. Caches may give it to others: it
    /// is the same for all, or says that it varies.
    pub fn headers(&self, origin: Option<&[u8]>) -> Vec<(&'static str, String)> {
        let mut headers = Vec::new();
        if matches!(self.origins, Origins::Listed(_)) {
            headers.push(("vary", "origin".to_owned()));
        }
        let Some(allowed) = self.allowed(origin.unwrap_or_default()) else { return headers };
        headers.push(("access-control-allow-origin", allowed.to_owned()));
        headers.push(("access-control-expose-headers", EXPOSED.to_owned()));
        if self.credentials {
            headers.push(("access-control-allow-credentials", "true".to_owned()));
        }
        headers
    }

    /// What to call `origin` where it is allowed.
    fn allowed<'a>(&self, origin: &'a [u8]) -> Option<&'a str> {
        let listed = match &self.origins {
            Origins::Any => return Some("*"),
            Origins::Listed(listed) => listed,
        };
        let origin = std::str::from_utf8(origin).ok()?.trim();
        listed.iter().any(|other| other.eq_ignore_ascii_case(origin)).then_some(origin)
    }
}

/// The list as it came, where it is one.
fn names_of_headers(list: &[u8]) -> Option<&str> {
    let list = std::str::from_utf8(list).ok().filter(|list| list.len() <= MAX_NAMES)?;
    list.split(',').all(|name| is_token(name.trim_matches([' ', '\t']))).then_some(list)
}

const EXPOSED: &str = "retry-after, allow, preference-applied";

/// Seconds for which a browser may remember a preflight.
const MAX_AGE: &str = "600";

/// Bytes of names that are said back to a browser.
const MAX_NAMES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &[u8] = b"https://app.example";

    fn listed(credentials: bool) -> Cors {
        let origins = vec!["https://other.example".to_owned(), "https://app.example".to_owned()];
        Cors { origins: Origins::Listed(origins), credentials }
    }

    fn any() -> Cors {
        Cors { origins: Origins::Any, credentials: false }
    }

    fn preflight(names: Option<&'static [u8]>) -> Asked<'static> {
        Asked {
            method: b"OPTIONS",
            origin: Some(PAGE),
            request_method: Some(b"POST"),
            request_headers: names,
        }
    }

    #[track_caller]
    fn headers(cors: &Cors, origin: Option<&[u8]>, want: &[(&str, &str)]) {
        let headers = cors.headers(origin);
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(headers, want);
    }

    #[test]
    fn answers_name_the_page_that_may_read_them_and_no_other() {
        let vary = ("vary", "origin");
        let allow = ("access-control-allow-origin", "https://app.example");
        let expose = ("access-control-expose-headers", EXPOSED);
        headers(&listed(false), Some(PAGE), &[vary, allow, expose]);
        let credentials = ("access-control-allow-credentials", "true");
        headers(&listed(true), Some(PAGE), &[vary, allow, expose, credentials]);
        headers(&listed(true), Some(b"https://evil.example"), &[vary]);
        headers(&listed(true), None, &[vary]);
        headers(&any(), Some(b"null"), &[("access-control-allow-origin", "*"), expose]);
        headers(&any(), Some(b"\xff"), &[("access-control-allow-origin", "*"), expose]);
        headers(&any(), None, &[("access-control-allow-origin", "*"), expose]);
    }

    #[test]
    fn only_listed_pages_get_through_and_what_is_no_page_does() {
        let status = |cors: &Cors, origin: Option<&'static [u8]>| match cors
            .judge(&Asked { method: b"POST", origin, ..Asked::default() }, "POST")
        {
            Verdict::Pass => 200,
            Verdict::Preflight(_) => 204,
            Verdict::Refuse(problem) => problem.status.number(),
        };
        assert_eq!(status(&listed(false), Some(PAGE)), 200);
        assert_eq!(status(&listed(false), Some(b"HTTPS://App.Example")), 200);
        assert_eq!(status(&listed(false), None), 200);
        for other in
            [&b"https://evil.example"[..], b"null", b"", b"\xff", b"https://app.example, https://app.example"]
        {
            assert_eq!(status(&listed(false), Some(other)), 403);
            assert_eq!(status(&any(), Some(other)), 200);
        }
    }

    #[test]
    fn a_preflight_is_told_the_methods_and_gets_its_names_back() {
        let told = |names: Option<&'static [u8]>| match listed(false).judge(&preflight(names), "GET, HEAD") {
            Verdict::Preflight(headers) => headers,
            other => panic!("{other:?}"),
        };
        let without =
            [("access-control-allow-methods", "GET, HEAD".into()), ("access-control-max-age", "600".into())];
        assert_eq!(told(None), without);
        let names = b"content-type,\tx-Key , prefer";
        let with = ("access-control-allow-headers", "content-type,\tx-Key , prefer".into());
        assert_eq!(told(Some(names)), [&without[..], &[with]].concat());
    }

    #[test]
    fn options_without_a_method_to_ask_for_is_no_preflight() {
        let asked = Asked { request_method: None, ..preflight(None) };
        assert_eq!(listed(false).judge(&asked, "POST"), Verdict::Pass);
        let asked = Asked { method: b"POST", ..preflight(None) };
        assert_eq!(listed(false).judge(&asked, "POST"), Verdict::Pass);
        let asked = Asked { origin: None, ..preflight(None) };
        assert_eq!(listed(false).judge(&asked, "POST"), Verdict::Pass);
    }

    #[test]
    fn names_that_are_none_or_too_many_are_not_said_back() {
        for names in [&b""[..], b"a,,b", b"a b", b"x:y", b"\xff", &[b'a'; MAX_NAMES + 1]] {
            let asked = Asked { request_headers: Some(names), ..preflight(None) };
            let Verdict::Refuse(problem) = any().judge(&asked, "POST") else {
                panic!("{}", names.escape_ascii())
            };
            assert_eq!(problem.status, StatusCode::BadRequest);
        }
        let names = [b'a'; MAX_NAMES];
        let asked = Asked { request_headers: Some(&names), ..preflight(None) };
        assert!(matches!(any().judge(&asked, "POST"), Verdict::Preflight(_)));
    }
}
