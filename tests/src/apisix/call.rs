//! A call-out of the filter as lua-resty-http makes it.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use sluicegate_harness::Headers;
use sluicegate_harness::apisix::Call;
use tokio::net::TcpStream;
use tokio::task::spawn_local;
use tokio::time::timeout;

/// The whole answer, or nothing where it was refused, took too long or was cut: the filter is not told which.
pub(super) async fn make(call: &Call) -> Option<(u16, Headers, Vec<u8>)> {
    let limit = if call.timeout.is_zero() { UNLESS_SAID } else { call.timeout };
    let uri: Uri = call.url.parse().ok()?;
    let stream = step(limit, TcpStream::connect(uri.authority()?.as_str())).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    spawn_local(connection);
    let mut request = Request::builder().method(call.method.as_str()).uri(uri.path_and_query()?.as_str());
    for (name, value) in call.headers.iter() {
        request = request.header(name, value);
    }
    let request = request.body(Full::new(Bytes::from(call.body.clone()))).ok()?;
    let (head, mut body) = step(limit, sender.send_request(request)).await?.into_parts();
    let mut bytes = Vec::new();
    while let Some(frame) = timeout(limit, body.frame()).await.ok()? {
        bytes.extend_from_slice(frame.ok()?.data_ref().map_or(&[], |data| &data[..]));
    }
    let headers = head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    Some((head.status.as_u16(), headers, bytes))
}

async fn step<T, E>(limit: Duration, step: impl Future<Output = Result<T, E>>) -> Option<T> {
    timeout(limit, step).await.ok()?.ok()
}

/// lua-nginx-module's `lua_socket_connect_timeout`, `_send_timeout` and `_read_timeout`.
const UNLESS_SAID: Duration = Duration::from_secs(60);
