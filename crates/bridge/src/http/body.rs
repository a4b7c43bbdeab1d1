//! Reads or discards a request's body.

use std::pin::pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use http::{Version, header, request};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::time::timeout;

use super::problem::{Problem, ProblemKind};

/// Reads a body of at most `max_bytes`.
///
/// # Errors
/// It is larger, does not arrive in time, or ends early.
///
/// # Cancel safety
/// A drop leaves the rest unread, and the connection unusable for HTTP/1.1.
pub(super) async fn read(
    mut body: Incoming,
    parts: &request::Parts,
    max_bytes: usize,
) -> Result<Bytes, Problem> {
    let length = parts.headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    let read = match length.is_some_and(|length| length > max_bytes) {
        true => Ok(Err(Unread::TooLarge)),
        false => timeout(BODY_TIMEOUT, collect(&mut body, max_bytes)).await,
    };
    // hyper ends a body without an error if its stream was reset with NO_ERROR (RFC 9113, section 8.1). Gateways reset
    // a stream that way when their client disconnects.
    let is_whole = parts.version < Version::HTTP_2 || body.is_end_stream();
    match read {
        Ok(Ok(bytes)) if is_whole => Ok(bytes),
        Ok(Ok(_) | Err(Unread::Broken)) => Err(Problem::new(ProblemKind::Malformed, "the body ended early")),
        Ok(Err(Unread::TooLarge)) => {
            skip(body, parts).await;
            let detail = format!("body too large (limits.max_request_bytes = {max_bytes})");
            Err(Problem::new(ProblemKind::TooLarge, detail))
        }
        Err(_) => {
            let detail = format!("the body did not arrive within {} s", BODY_TIMEOUT.as_secs());
            Err(Problem::new(ProblemKind::TooSlow, detail))
        }
    }
}

/// The parts of a body as they arrive. A body that ends early ends with an error.
pub(super) fn parts(body: Incoming, version: Version) -> BoxStream<'static, Result<Bytes, Problem>> {
    let broken = || Problem::new(ProblemKind::Malformed, "the body ended early");
    stream::unfold(Some(body), move |body| async move {
        let mut body = body?;
        match body.frame().await {
            Some(Ok(frame)) => Some((Ok(frame.into_data().unwrap_or_default()), Some(body))),
            Some(Err(_)) => Some((Err(broken()), None)),
            // As in `read`.
            None if version >= Version::HTTP_2 && !body.is_end_stream() => Some((Err(broken()), None)),
            None => None,
        }
    })
    .boxed()
}

/// Waits for `answer`, and discards a body that is not expected. If short DATA frames stayed unread, the HTTP/2 library
/// would close the connection, which a gateway's clients share.
pub(super) async fn ignore<T>(mut body: Incoming, answer: impl Future<Output = T>) -> T {
    let mut answer = pin!(answer);
    let ended = async { while let Some(Ok(_)) = body.frame().await {} };
    tokio::select! {
        biased;
        answer = answer.as_mut() => return answer,
        () = ended => {}
    }
    answer.await
}

/// Discards a body before an early response: nginx replaces the response with an error if the connection closes while
/// it still sends.
pub(super) async fn skip(mut body: Incoming, parts: &request::Parts) {
    // A client that waits for "100 Continue" sends nothing.
    let sends = !parts.headers.contains_key(header::EXPECT);
    if parts.version < Version::HTTP_2 && sends {
        let _ = timeout(DISCARD_TIMEOUT, discard(&mut body)).await;
    }
}

/// Why a body could not be read.
enum Unread {
    TooLarge,
    Broken,
}

/// The bytes of a body, at most `max_bytes`.
async fn collect(body: &mut Incoming, max_bytes: usize) -> Result<Bytes, Unread> {
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let data = frame.map_err(|_| Unread::Broken)?.into_data().unwrap_or_default();
        if first.len().saturating_add(all.len()).saturating_add(data.len()) > max_bytes {
            return Err(Unread::TooLarge);
        }
        match (first.is_empty(), all.is_empty()) {
            (true, true) => first = data,
            (false, true) => {
                all.extend_from_slice(&first);
                all.extend_from_slice(&data);
                first.clear();
            }
            _ => all.extend_from_slice(&data),
        }
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

async fn discard(body: &mut Incoming) {
    let mut discarded = 0_usize;
    while let Some(Ok(frame)) = body.frame().await {
        discarded = discarded.saturating_add(frame.data_ref().map_or(0, Bytes::len));
        if discarded > MAX_DISCARDED_BYTES {
            return;
        }
    }
}

/// The request timeout of the gateways in `envoy/`.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// For discarding the rest of a body.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_DISCARDED_BYTES: usize = 64 << 20;
