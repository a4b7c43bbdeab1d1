//! The opening handshake: an HTTP upgrade becomes a session, or a refusal (RFC 6455, section 4.2; RFC 8441, section 5, for
//! HTTP/2).

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use sha1::{Digest, Sha1};
use sluicegate_protocol::codec::{Codec, JSON_SUBPROTOCOL, PROTOBUF_SUBPROTOCOL};

/// The headers of an HTTP request that the handshake looks at, as bytes: a header value need not be text.
#[derive(Debug, Clone, Copy, Default)]
#[expect(missing_docs, reason = "the headers' own names")]
pub struct Headers<'a> {
    /// The version of HTTP between the client and the gateway.
    pub http: Http,
    pub method: &'a [u8],
    pub upgrade: Option<&'a [u8]>,
    pub connection: Option<&'a [u8]>,
    pub key: Option<&'a [u8]>,
    pub version: Option<&'a [u8]>,
    pub protocol: Option<&'a [u8]>,
    pub origin: Option<&'a [u8]>,
    pub content_length: Option<&'a [u8]>,
    pub transfer_encoding: Option<&'a [u8]>,
    /// `Access-Control-Request-Method`: the request is a preflight (Fetch standard, section 3.3.2).
    pub preflight: Option<&'a [u8]>,
}

/// A version of HTTP, as far as opening a WebSocket differs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Http {
    /// HTTP/1.0, which knows no upgrades.
    Old,
    /// HTTP/1.1: an upgrade with a key, answered with 101.
    #[default]
    Upgrading,
    /// HTTP/2 or HTTP/3: an extended CONNECT without a key, answered with 200. Gateways show it as an upgrade.
    Multiplexed,
}

/// A route's rules for handshakes.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// Origins of web pages that can open a session; None: any. A request without `Origin` does not come from a web
    /// page and is allowed.
    pub origins: Option<Vec<String>>,
    /// Subprotocols that the route supports beside [`JSON_SUBPROTOCOL`] and [`PROTOBUF_SUBPROTOCOL`].
    pub subprotocols: Vec<String>,
}

/// A handshake to be answered with 101, or with 200 over HTTP/2.
#[derive(Debug, PartialEq, Eq)]
pub struct Accepted {
    /// `Sec-WebSocket-Accept` for the client's key. None over HTTP/2, which has neither.
    pub accept: Option<String>,
    /// `Sec-WebSocket-Protocol`, if one is selected.
    pub subprotocol: Option<String>,
}

/// A request that opens no session, to be answered as its methods say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// 400, 401, 403, 426 or 431, or 204 for a preflight.
    pub status: u16,
    /// A header with what would be accepted.
    pub header: Option<(&'static str, &'static str)>,
    /// The expected request; without quotation marks, which would end a string of JSON.
    pub reason: &'static str,
    /// The origin of the page that can read the answer.
    pub page: Option<String>,
}

impl Http {
    /// The version of this name, such as `HTTP/2`, or `HTTP/2.0` as nginx writes it. Unknown ones count as HTTP/1.1.
    pub fn parse(name: &[u8]) -> Self {
        match name {
            b"HTTP/0.9" | b"HTTP/1.0" => Self::Old,
            _ if name.starts_with(b"HTTP/2") || name.starts_with(b"HTTP/3") => Self::Multiplexed,
            _ => Self::Upgrading,
        }
    }
}

impl Policy {
    /// Checks a request; its origin first, so that other pages learn nothing.
    ///
    /// # Errors
    /// The answer to an invalid or forbidden handshake.
    pub fn check(&self, headers: &Headers<'_>) -> Result<Accepted, Refused> {
        let page = self.page(headers.origin)?;
        self.check_upgrade(headers).map_err(|refused| Refused { page, ..refused })
    }

    /// The refusal for a client with this `Origin`: other pages learn nothing of it.
    pub fn refusal(&self, origin: Option<&[u8]>, refused: Refused) -> Refused {
        match self.page(origin) {
            Ok(page) => Refused { page, ..refused },
            Err(forbidden) => forbidden,
        }
    }

    /// The origin of the page, if a page sends the request.
    fn page(&self, origin: Option<&[u8]>) -> Result<Option<String>, Refused> {
        let origin = text(origin, "Origin is not UTF-8")?.map(str::trim);
        if let (Some(origins), Some(origin)) = (&self.origins, origin)
            && !origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin))
        {
            return Err(Refused::new(403, "this Origin may not open a session here"));
        }
        Ok(origin.map(str::to_owned))
    }

    fn check_upgrade(&self, headers: &Headers<'_>) -> Result<Accepted, Refused> {
        let upgrade = text(headers.upgrade, "Upgrade is not UTF-8")?;
        let connection = text(headers.connection, "Connection is not UTF-8")?;
        let version = text(headers.version, "Sec-WebSocket-Version is not UTF-8")?;
        let key = text(headers.key, "Sec-WebSocket-Key is not UTF-8")?;
        let protocol = text(headers.protocol, "Sec-WebSocket-Protocol is not UTF-8")?;

        if headers.method != b"GET" || !lists(upgrade, "websocket") || !lists(connection, "upgrade") {
            // Browsers hide why an upgrade was refused. A page can ask with a plain request.
            let is_preflight = headers.method == b"OPTIONS" && headers.preflight.is_some();
            return Err(Refused::new(
                if is_preflight { 204 } else { 426 },
                "a WebSocket upgrade is expected here",
            ));
        }
        // RFC 6455, section 4.2.2: "the server MUST abort the WebSocket handshake [...] and send an appropriate HTTP
        // error code [...] and a |Sec-WebSocket-Version| header field". The RFC's example, 426, needs an `Upgrade`
        // header, which proxies remove from responses.
        if version.map(str::trim) != Some("13") {
            let header = Some(("sec-websocket-version", "13"));
            return Err(Refused { header, ..bad("Sec-WebSocket-Version 13 is expected") });
        }
        // Frames follow the headers at once.
        let has_length = headers.content_length.is_some_and(|length| length.trim_ascii() != b"0");
        if has_length || headers.transfer_encoding.is_some() {
            return Err(bad("a WebSocket upgrade must not have a body"));
        }
        let accept = match headers.http {
            // RFC 8441, section 5: "the Sec-WebSocket-Key and Sec-WebSocket-Accept header fields" are not used.
            Http::Multiplexed => None,
            // RFC 9110, section 7.8: "A server MUST ignore an Upgrade header field that is received in an HTTP/1.0 request."
            Http::Old => return Err(Refused::new(426, "a WebSocket upgrade needs HTTP/1.1")),
            Http::Upgrading => {
                let key = key.map(str::trim).filter(|key| is_key(key));
                Some(accept(key.ok_or(bad("Sec-WebSocket-Key is not 16 bytes in base64"))?))
            }
        };
        Ok(Accepted { accept, subprotocol: self.select(protocol.unwrap_or_default())? })
    }

    /// The first known subprotocol of the client's list. RFC 6455, section 4.1: "one or more comma-separated
    /// subprotocol the client wishes to speak, ordered by preference"
    ///
    /// None if the list is empty, apart from tokens. With unknown ones alone, the client expects another protocol, and
    /// browsers would close the session without a word.
    fn select(&self, offered: &str) -> Result<Option<String>, Refused> {
        let is_ours = |name: &str| [JSON_SUBPROTOCOL, PROTOBUF_SUBPROTOCOL].contains(&name);
        let is_known = |name: &&str| is_ours(name) || self.subprotocols.iter().any(|own| own == name);
        let mut names = members(offered).filter(|name| !name.starts_with(TOKEN_SUBPROTOCOL));
        match (names.clone().find(is_known), names.next()) {
            (None, Some(_)) => Err(bad(UNKNOWN_SUBPROTOCOL)),
            (known, _) => Ok(known.map(str::to_owned)),
        }
    }
}

impl Refused {
    /// An answer that no page can read.
    pub fn new(status: u16, reason: &'static str) -> Self {
        Self { status, header: None, reason, page: None }
    }

    /// The same for a client without a valid identity, on a route that asks for one: the answer to a plain request says
    /// first that the client must log in, and `reason` says why. Browsers hide it in the answer to an upgrade.
    #[must_use]
    pub fn or_login(self, reason: &'static str, challenge: &'static str) -> Self {
        if self.status != 426 {
            return self;
        }
        Self { status: 401, header: Some(("www-authenticate", challenge)), reason, ..self }
    }

    /// The headers of the answer. Pages of allowed origins can read it, and with the user's cookies: an upgrade sends
    /// them too.
    ///
    /// Without `Upgrade`, which RFC 9110, section 15.5.22, asks for with 426: it is for the connection, and not every
    /// gateway removes it where it must not be, in HTTP/2.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let page = self.page.as_deref();
        let fields = [
            Some(("vary", "Origin")),
            self.header,
            (self.status != 204).then_some(("content-type", "application/problem+json")),
            page.map(|page| ("access-control-allow-origin", page)),
            page.map(|_| ("access-control-allow-credentials", "true")),
            page.filter(|_| self.status == 204).map(|_| ("access-control-allow-methods", "GET")),
        ];
        fields.into_iter().flatten().map(|(name, value)| (name, value.to_owned())).collect()
    }

    /// The body of the answer: a problem document (RFC 9457).
    pub fn document(&self) -> String {
        self.document_of("")
    }

    /// The same of a request with this trace id, in hexadecimal; empty: it has none.
    pub fn document_of(&self, trace_id: &str) -> String {
        let Self { status, reason, .. } = self;
        let title = match status {
            204 => return String::new(),
            401 => "Unauthorized",
            403 => "Forbidden",
            426 => "Upgrade Required",
            429 => "Too Many Requests",
            431 => "Request Header Fields Too Large",
            _ => "Bad Request",
        };
        let trace = if trace_id.is_empty() { String::new() } else { format!(r#","trace_id":"{trace_id}""#) };
        format!(r#"{{"type":"about:blank","title":"{title}","status":{status},"detail":"{reason}"{trace}}}"#)
    }
}

impl Accepted {
    /// The codec of the session.
    pub fn codec(&self) -> Codec {
        Codec::of(self.subprotocol.as_deref().map(str::as_bytes))
    }
}

fn text<'a>(value: Option<&'a [u8]>, reason: &'static str) -> Result<Option<&'a str>, Refused> {
    value.map(std::str::from_utf8).transpose().map_err(|_| bad(reason))
}

fn bad(reason: &'static str) -> Refused {
    Refused::new(400, reason)
}

/// The members of a list. RFC 9110, section 5.6.1.2: "A recipient MUST parse and ignore a reasonable number of empty list
/// elements"
fn members(list: &str) -> impl Iterator<Item = &str> + Clone {
    list.split(',').map(str::trim).filter(|member| !member.is_empty())
}

/// Whether a comma-separated header lists `token`, in any case.
fn lists(header: Option<&str>, token: &str) -> bool {
    header.is_some_and(|header| members(header).any(|member| member.eq_ignore_ascii_case(token)))
}

/// The beginning of a subprotocol that is a token: browsers can send no other header with an upgrade.
pub const TOKEN_SUBPROTOCOL: &str = "sluicegate.token.";

const UNKNOWN_SUBPROTOCOL: &str = "no known subprotocol in Sec-WebSocket-Protocol: expected sluicegate.v1.json for JSON, sluicegate.v1 for \
     protobuf, another of the route, or none";

/// The reason for clients without an identity.
pub const LOG_IN: &str = "log in first: this route asks who you are";

/// RFC 6455, section 4.1: "a nonce consisting of a randomly selected 16-byte value that has been base64-encoded". Small
/// devices write 22 random characters: the bits of the last one beyond the 16 bytes are ignored, and it need not be padded.
fn is_key(key: &str) -> bool {
    const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent);
    GeneralPurpose::new(&alphabet::STANDARD, LENIENT).decode(key).is_ok_and(|nonce| nonce.len() == 16)
}

/// RFC 6455, section 4.2.2, item 5.4.
fn accept(key: &str) -> String {
    let digest =
        Sha1::new().chain_update(key).chain_update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11").finalize();
    STANDARD.encode(digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn good() -> Headers<'static> {
        Headers {
            http: Http::Upgrading,
            method: b"GET",
            upgrade: Some(b"websocket"),
            connection: Some(b"Upgrade"),
            key: Some(b"dGhlIHNhbXBsZSBub25jZQ=="),
            version: Some(b"13"),
            ..Headers::default()
        }
    }

    #[test]
    fn accept_is_as_in_the_rfcs_example() {
        let accepted = Policy::default().check(&good()).unwrap();
        let accept = Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".into());
        assert_eq!(accepted, Accepted { accept, subprotocol: None });
    }

    #[test]
    fn versions_of_http_open_sessions_in_their_own_way() {
        for (name, keyed, keyless) in [
            ("HTTP/1.1", Ok(true), Err(400)),
            ("", Ok(true), Err(400)),
            ("HTTP/2", Ok(false), Ok(false)),
            ("HTTP/2.0", Ok(false), Ok(false)),
            ("HTTP/3", Ok(false), Ok(false)),
            ("HTTP/1.0", Err(426), Err(426)),
        ] {
            for (key, expected) in [(good().key, keyed), (None, keyless)] {
                let headers = Headers { http: Http::parse(name.as_bytes()), key, ..good() };
                let checked = Policy::default().check(&headers);
                let checked = checked.map(|accepted| accepted.accept.is_some());
                assert_eq!(checked.map_err(|refused| refused.status), expected, "{name} {key:?}");
            }
        }
    }

    #[test]
    fn other_requests_are_refused() {
        let bytes = Some(&b"\xff\xfe"[..]);
        let tokens = (Some(&b"h2c,, WebSocket"[..]), Some(&b",\tupgrade ,keep-alive"[..]));
        for (headers, status) in [
            // Tokens match in any case and within lists.
            (Headers { upgrade: tokens.0, connection: tokens.1, ..good() }, 101),
            (Headers { upgrade: None, ..good() }, 426),
            (Headers { upgrade: Some(b"h2c"), ..good() }, 426),
            (Headers { connection: Some(b"close"), ..good() }, 426),
            (Headers { method: b"POST", ..good() }, 426),
            (Headers { method: b"GET", ..Headers::default() }, 426),
            // A key has 16 bytes.
            (Headers { key: None, ..good() }, 400),
            (Headers { key: Some(b""), ..good() }, 400),
            (Headers { key: Some(b"dGhl"), ..good() }, 400),
            (Headers { key: Some(b"!!!!IHNhbXBsZSBub25jZQ=="), ..good() }, 400),
            (Headers { key: Some(&[b'A'; 9000]), ..good() }, 400),
            (Headers { key: Some(b"dGhlIHNhbXBsZSBub25jZf=="), ..good() }, 101),
            (Headers { key: Some(b" dGhlIHNhbXBsZSBub25jZQ "), ..good() }, 101),
            // No body.
            (Headers { content_length: Some(b"0"), ..good() }, 101),
            (Headers { content_length: Some(b"5"), ..good() }, 400),
            (Headers { transfer_encoding: Some(b"chunked"), ..good() }, 400),
            // Headers are UTF-8.
            (Headers { upgrade: bytes, ..good() }, 400),
            (Headers { connection: bytes, ..good() }, 400),
            (Headers { key: bytes, ..good() }, 400),
            (Headers { version: bytes, ..good() }, 400),
            (Headers { protocol: bytes, ..good() }, 400),
            (Headers { origin: bytes, ..good() }, 400),
        ] {
            let checked = Policy::default().check(&headers);
            let answered = checked.as_ref().map_or_else(|refused| refused.status, |_| 101);
            assert_eq!(answered, status, "{checked:?}");
        }
    }

    fn owned(headers: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
        headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
    }

    #[test]
    fn page_of_an_allowed_origin_can_read_why_no_session_opens() {
        let listed = Policy { origins: Some(vec!["https://app.example".into()]), ..Policy::default() };
        let detail = "a WebSocket upgrade is expected here";
        let expected = format!(
            r#"{{"type":"about:blank","title":"Upgrade Required","status":426,"detail":"{detail}"}}"#
        );
        let page = Headers { method: b"GET", origin: Some(b"https://app.example"), ..Headers::default() };
        let problem = ("content-type", "application/problem+json");
        let readable = [
            ("access-control-allow-origin", "https://app.example"),
            ("access-control-allow-credentials", "true"),
        ];
        for policy in [&listed, &Policy::default()] {
            let refused = policy.check(&page).unwrap_err();
            assert_eq!(refused.headers(), owned(&[&[("vary", "Origin"), problem][..], &readable].concat()));
            assert_eq!((refused.status, refused.document()), (426, expected.clone()));

            let preflight = Headers { method: b"OPTIONS", preflight: Some(b"GET"), ..page };
            let refused = policy.check(&preflight).unwrap_err();
            let methods = ("access-control-allow-methods", "GET");
            let told = [&[("vary", "Origin")][..], &readable, &[methods]].concat();
            assert_eq!(refused.headers(), owned(&told));
            assert_eq!((refused.status, refused.document().as_str()), (204, ""));

            let nobody = policy.check(&Headers { origin: None, ..page }).unwrap_err();
            assert_eq!(nobody.headers(), owned(&[("vary", "Origin"), problem]));
        }
        let other = listed.check(&Headers { origin: Some(b"https://evil.example"), ..page }).unwrap_err();
        assert_eq!((other.status, other.headers()), (403, owned(&[("vary", "Origin"), problem])));
    }

    #[test]
    fn plain_request_is_told_first_to_log_in() {
        let listed = Policy { origins: Some(vec!["https://app.example".into()]), ..Policy::default() };
        let page = Headers { method: b"GET", origin: Some(b"https://app.example"), ..Headers::default() };
        for (headers, status) in [
            (page, 401),
            (Headers { origin: None, ..page }, 401),
            (Headers { method: b"OPTIONS", preflight: Some(b"GET"), ..page }, 204),
            (Headers { origin: Some(b"https://evil.example"), ..page }, 403),
            (Headers { key: None, ..good() }, 400),
        ] {
            let refused = listed.check(&headers).unwrap_err();
            let told = refused.clone().or_login(LOG_IN, "Bearer");
            assert_eq!((told.status, &told.page), (status, &refused.page));
            assert_eq!(told.header, (status == 401).then_some(("www-authenticate", "Bearer")));
        }
    }

    #[test]
    fn other_versions_are_refused_with_the_supported_one() {
        for version in [None, Some(&b"8"[..]), Some(b"13, 8"), Some(b"13, 13"), Some(b"")] {
            let refused = Policy::default().check(&Headers { version, ..good() }).unwrap_err();
            assert_eq!((refused.status, refused.header), (400, Some(("sec-websocket-version", "13"))));
        }
    }

    #[test]
    fn only_listed_origins_can_open_a_session() {
        let policy = Policy { origins: Some(vec!["https://app.example".into()]), ..Policy::default() };
        for (origin, want) in [
            (None, 101),
            (Some("https://app.example"), 101),
            (Some("HTTPS://App.Example"), 101),
            (Some("https://evil.example"), 403),
            (Some("null"), 403),
            (Some("https://app.example.evil.example"), 403),
            (Some(""), 403),
        ] {
            let checked = policy.check(&Headers { origin: origin.map(str::as_bytes), ..good() });
            assert_eq!(checked.map_or_else(|refused| refused.status, |_| 101), want, "{origin:?}");
        }
    }

    #[test]
    fn first_known_subprotocol_of_the_client_is_selected() {
        let own = Policy { subprotocols: vec!["pubsub.v1".into(), "pubsub.v2".into()], ..Policy::default() };
        let token = "sluicegate.token.a.b.c";
        for (policy, offered, selected) in [
            (&own, "graphql-ws, pubsub.v2 ,pubsub.v1", Ok(Some("pubsub.v2"))),
            (&own, "pubsub.v1, sluicegate.v1.json", Ok(Some("pubsub.v1"))),
            (&own, "key.secret,, sluicegate.v1.json, pubsub.v1", Ok(Some("sluicegate.v1.json"))),
            (&Policy::default(), "sluicegate.v1", Ok(Some("sluicegate.v1"))),
            (&Policy::default(), token, Ok(None)),
            (&Policy::default(), " ,", Ok(None)),
            (&Policy::default(), "graphql-ws, pubsub.v2 ,pubsub.v1", Err(UNKNOWN_SUBPROTOCOL)),
            (&own, "sluicegate.v1.JSON, sluicegate.token.a", Err(UNKNOWN_SUBPROTOCOL)),
        ] {
            let checked = policy.check(&Headers { protocol: Some(offered.as_bytes()), ..good() });
            let is_json = checked.as_ref().is_ok_and(|accepted| accepted.codec() == Codec::Json);
            assert_eq!(is_json, selected == Ok(Some(JSON_SUBPROTOCOL)), "{offered}");
            let checked = checked.map(|accepted| accepted.subprotocol).map_err(|refused| refused.reason);
            assert_eq!(checked, selected.map(|name| name.map(str::to_owned)), "{offered}");
        }
    }
}
