//! One command and its answer as gRPC-Web, for what speaks no HTTP/2.
//!
//! gRPC-Web, "Protocol differences vs gRPC over HTTP2": requests are the same, and an answer's trailers are the last message of
//! its body, marked by the first bit of the flag byte. Not from the crate `tonic-web`: that leaves the status of an error without
//! a message in the headers, knows a content type only without parameters, and would serve base64 bodies, too.

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};
use http_body::Frame;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use sluicegate_protocol::grpc;
use tonic::body::Body;

use super::{Entrance, Refusal};

impl Entrance {
    pub(super) async fn grpc_web(&self, request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
        self.check_origin(request.headers())?;
        self.call(request).await.map(framed)
    }
}

/// gRPC's answer as gRPC-Web's.
pub(super) fn framed(response: Response<Body>) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc-web+proto"));
    let body = match take_trailers(&mut parts.headers) {
        Some(trailers) => Body::new(Full::new(message(&trailers))),
        None => Body::new(body.map_frame(|frame| match frame.into_trailers() {
            Ok(trailers) => Frame::data(message(&trailers)),
            Err(frame) => frame,
        })),
    };
    Response::from_parts(parts, body)
}

/// gRPC over HTTP/2, "Trailers-Only": an answer without a message has its trailers in its headers.
fn take_trailers(headers: &mut HeaderMap) -> Option<HeaderMap> {
    headers.contains_key(tonic::Status::GRPC_STATUS).then(|| {
        let names: Vec<HeaderName> =
            headers.keys().filter(|name| name.as_str().starts_with("grpc-")).cloned().collect();
        names.into_iter().filter_map(|name| headers.remove(&name).map(|value| (name, value))).collect()
    })
}

/// gRPC-Web: "Trailers [...] encoded as HTTP/1 headers", names in lower case.
fn message(trailers: &HeaderMap) -> Bytes {
    let mut text = BytesMut::new();
    for (name, value) in trailers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            text.put_slice(part);
        }
    }
    // A status and its message, which is one of ours.
    let [_, len @ ..] = grpc::head(u32::try_from(text.len()).unwrap_or(u32::MAX));
    let mut message = BytesMut::with_capacity(grpc::HEAD_LEN.saturating_add(text.len()));
    message.put_u8(TRAILERS);
    message.put_slice(&len);
    message.put_slice(&text);
    message.freeze()
}

/// gRPC-Web: "the most significant bit of the first byte" says that these are trailers.
const TRAILERS: u8 = 0x80;
