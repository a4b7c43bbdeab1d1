//! The web pages that may use a bridge that requires neither a secret nor a certificate.

use std::net::IpAddr;

use http::{HeaderMap, Uri, header};

use super::Endpoint;
use super::refusal::Refusal;

impl Endpoint {
    /// An authenticated gateway has already checked the page's origin. Without authentication, only loopback origins
    /// are allowed: any page on the internet can make a browser send requests to its own machine's loopback address.
    pub(super) fn check_origin(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let mut origins = headers.get_all(header::ORIGIN).iter();
        // RFC 6454, section 7.3: requests that do not come from a page have no Origin.
        if self.settings.load().authenticated || origins.all(|origin| is_loopback(origin.as_bytes())) {
            return Ok(());
        }
        Err(Refusal::Origin)
    }
}

impl Endpoint {
    /// The same for a page whose host name resolves to this machine (DNS rebinding): the browser considers such
    /// requests same-origin and sends no `Origin`.
    pub(super) fn check_host(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let host = headers.get(header::HOST).map(|host| host.as_bytes()).unwrap_or_default();
        if self.settings.load().authenticated || is_loopback(&[b"http://", host].concat()) {
            return Ok(());
        }
        Err(Refusal::NotLoopbackHost)
    }
}

/// RFC 6454, section 6.2: `scheme "://" host [ ":" port ]`, or `null`.
fn is_loopback(origin: &[u8]) -> bool {
    let Ok(origin) = Uri::try_from(origin) else { return false };
    let is_web = matches!(origin.scheme_str(), Some("http" | "https"));
    let is_bare = matches!(origin.path(), "" | "/") && origin.query().is_none();
    let Some(authority) = origin.authority().filter(|authority| !authority.as_str().contains('@')) else {
        return false;
    };
    let host = authority.host();
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let is_here = address.parse().is_ok_and(|address: IpAddr| address.is_loopback());
    is_web && is_bare && (is_here || host.eq_ignore_ascii_case("localhost"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_origins_are_loopback() {
        let ours = "http://localhost http://localhost:3000 https://LOCALHOST:8443 \
                    http://127.0.0.1:8080 http://127.8.9.1 http://[::1]:5173 http://[::1]";
        for ours in ours.split(' ') {
            assert!(is_loopback(ours.as_bytes()), "{ours}");
        }
        let others = "null localhost localhost:3000 file://localhost ws://localhost \
                      http://example.com http://localhost.example.com http://127.0.0.1.example.com \
                      http://example.com:127 http://localhost@example.com \
                      http://example.com@localhost http://example.com/localhost \
                      http://localhost/page http://localhost?x http://10.0.0.1 http://0.0.0.0 \
                      http://[::ffff:10.0.0.1] http://[::2] http://[localhost] http://";
        let lists = [
            "http://localhost, http://example.com",
            "http://localhost http://example.com",
            "http://\u{e9}",
            "",
        ];
        for other in others.split(' ').chain(lists) {
            assert!(!is_loopback(other.as_bytes()), "{other}");
        }
    }
}
