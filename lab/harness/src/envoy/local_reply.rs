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

    /// `:status`, then `added`, then length and type if there is a body. A gRPC client gets headers only, and no
    /// `grpc-message`, which no test reads.
    pub(crate) fn reply(self, status: u32, added: &Headers, body: Vec<u8>) -> LocalReply {
        let mut headers = Headers::from([(":status", status.to_string())]);
        for (name, value) in added.iter() {
            headers.add(name, value);
        }
        if self.grpc {
            headers.set(b":status", b"200");
            headers.set(b"content-type", GRPC);
            headers.set(b"grpc-status", grpc_status(status).to_string().as_bytes());
            return LocalReply { headers: headers.without("content-length"), body: Vec::new() };
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

/// Envoy, `Grpc::Utility::httpToGrpcStatus`.
fn grpc_status(http: u32) -> u32 {
    match http {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}

const GRPC: &[u8] = b"application/grpc";
