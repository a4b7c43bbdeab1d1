//! Envoy's local replies: `Http::Utility::prepareLocalReply` and `encodeLocalReply`.

use crate::abi::headers::Headers;

/// A reply ready to be sent. With an empty body, the headers end it.
pub(crate) struct LocalReply {
    pub(crate) headers: Headers,
    pub(crate) body: Vec<u8>,
}

/// The format of a local reply, which depends on the client's original request.
#[derive(Clone, Copy, Default)]
pub(crate) struct ReplyFormat {
    head: bool,
    grpc: bool,
}

impl ReplyFormat {
    /// Filter manager, `requestHeadersInitialized`: decided before any filter runs.
    pub(crate) fn of(request: &Headers) -> Self {
        let content_type = request.get("content-type").and_then(|value| value.strip_prefix(GRPC));
        Self {
            head: request.get(":method") == Some(b"HEAD"),
            grpc: content_type.is_some_and(|rest| rest.first().is_none_or(|next| *next == b'+')),
        }
    }

    /// `:status`, then `added`, then length and type if there is a body. A gRPC client gets headers only, with the body
    /// as `grpc-message`.
    pub(crate) fn reply(
        self,
        status: u32,
        grpc_status: Option<u32>,
        added: &Headers,
        body: Vec<u8>,
    ) -> LocalReply {
        let mut headers = Headers::from([(":status", status.to_string())]);
        for (name, value) in added.iter() {
            headers.add(name, value);
        }
        if self.grpc {
            return LocalReply {
                headers: grpc_headers(headers, status, grpc_status, &body),
                body: Vec::new(),
            };
        }
        if body.is_empty() {
            return LocalReply { headers: headers.without("content-length").without("content-type"), body };
        }
        headers.set(b"content-length", body.len().to_string().as_bytes());
        if headers.get("content-type").is_none() {
            headers.add(b"content-type", b"text/plain");
        }
        LocalReply { headers, body: if self.head { Vec::new() } else { body } }
    }
}

fn grpc_headers(mut headers: Headers, status: u32, grpc_status: Option<u32>, body: &[u8]) -> Headers {
    headers.set(b":status", b"200");
    headers.set(b"content-type", GRPC);
    if headers.get("grpc-status").is_none_or(<[u8]>::is_empty) {
        let code = grpc_status.unwrap_or_else(|| grpc_status_of(status));
        headers.set(b"grpc-status", code.to_string().as_bytes());
    }
    if !body.is_empty() {
        headers.set(b"grpc-message", percent_encoded(body).as_bytes());
    }
    headers.without("content-length")
}

/// Envoy, `Grpc::Utility::httpToGrpcStatus`.
fn grpc_status_of(http: u32) -> u32 {
    match http {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}

/// Envoy, `Http::Utility::PercentEncoding::encode`.
fn percent_encoded(bytes: &[u8]) -> String {
    let escape = |byte: &u8| match byte {
        b'%' | 0..b' ' | b'~'.. => format!("%{byte:02X}"),
        plain => char::from(*plain).to_string(),
    };
    bytes.iter().map(escape).collect()
}

const GRPC: &[u8] = b"application/grpc";

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(
        request: (&str, &str),
        grpc_status: Option<u32>,
        body: &str,
        want: &[(&str, &str)],
        want_body: &str,
    ) {
        let added = Headers::from([("retry-after", "1")]);
        let reply = ReplyFormat::of(&Headers::from([request])).reply(503, grpc_status, &added, body.into());
        assert_eq!(reply.headers, Headers::from(want));
        assert_eq!(reply.body, want_body.as_bytes());
    }

    #[test]
    fn reply_has_the_form_that_its_client_expects() {
        let plain = [
            (":status", "503"),
            ("retry-after", "1"),
            ("content-length", "4"),
            ("content-type", "text/plain"),
        ];
        check((":method", "GET"), Some(14), "gone", &plain, "gone");
        check((":method", "HEAD"), None, "gone", &plain, "");
        check(("content-type", "application/grpc-web"), None, "gone", &plain, "gone");
        check((":method", "GET"), None, "", &plain[..2], "");
    }

    #[test]
    fn reply_to_a_grpc_client_has_no_body() {
        let want = |status, message| {
            let mut want =
                vec![("retry-after", "1"), (":status", "200"), ("content-type", "application/grpc")];
            want.extend([("grpc-status", status), ("grpc-message", message)]);
            want
        };
        check(("content-type", "application/grpc"), None, "gone 100%\n", &want("14", "gone 100%25%0A"), "");
        check(("content-type", "application/grpc+proto"), Some(8), "x", &want("8", "x"), "");
        check(("content-type", "application/grpc"), None, "", &want("14", "")[..4], "");
    }

    #[test]
    fn http_status_maps_to_a_grpc_status() {
        let table = [(400, 13), (401, 16), (403, 7), (404, 12), (429, 14), (503, 14), (413, 2), (500, 2)];
        for (http, grpc) in table {
            assert_eq!(grpc_status_of(http), grpc, "{http}");
        }
    }
}
