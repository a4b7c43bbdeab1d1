//! The task behind a client: writes its requests and hands each answer to its caller.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use prost::Message as _;
use sluicegate_protocol::PubSubResp;
use sluicegate_protocol::pub_sub_resp::Resp;
use tokio::sync::{Notify, mpsc};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{self, Message, protocol::CloseFrame};

use crate::Error;
use crate::pending::Pending;
use crate::retry::UNAUTHORIZED;
use crate::transport::Stream;

pub(crate) type Socket = WebSocketStream<Stream>;

/// Drives `socket` until either side ends the session. The client ends it by dropping its end of `requests`, or at once
/// with `close`.
///
/// # Errors
/// Why the session ended, unless the client ended it and the server answered its Close.
pub(crate) async fn run(
    socket: Socket,
    requests: mpsc::Receiver<Bytes>,
    close: Arc<Notify>,
    pending: Arc<Pending>,
) -> Result<(), Error> {
    let (mut sink, mut stream) = socket.split();
    let mut closing = false;
    // Reading continues while a write waits, or a server that writes before it reads would wait forever.
    let end = tokio::select! {
        end = read(&mut stream, &pending) => end,
        end = write(&mut sink, requests, &close, &mut closing) => end,
    };
    // The other users of the session learn why it ended, even if the server does not answer.
    let closed = || Error::Closed { code: CloseCode::Normal.into(), reason: String::new() };
    pending.end(if closing { closed() } else { end.clone() });
    match end {
        Error::Closed { .. } if closing => Ok(()),
        Error::Closed { .. } => {
            // Reading on sends the echo. RFC 6455, section 7.1.1: the client "SHOULD wait for a TCP Close from the
            // server".
            let _ = timeout(CLOSE_TIMEOUT, stream.next()).await;
            Err(end)
        }
        Error::Protocol { .. } => {
            let frame = CloseFrame { code: CloseCode::Protocol, reason: "".into() };
            let _ = timeout(CLOSE_TIMEOUT, sink.send(Message::Close(Some(frame)))).await;
            Err(end)
        }
        _ => Err(end),
    }
}

/// Hands out answers until the session ends, and returns why.
async fn read(stream: &mut SplitStream<Socket>, pending: &Pending) -> Error {
    loop {
        match stream.next().await {
            Some(Ok(Message::Binary(payload))) => {
                if let Err(why) = accept(payload, pending) {
                    return why;
                }
            }
            // The codec answers a Ping by itself, with the next read.
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            Some(Ok(Message::Text(text))) => {
                let detail = format!("a text message of {} bytes where answers are binary", text.len());
                return Error::Protocol { detail };
            }
            Some(Ok(Message::Close(frame))) => return closed(frame, pending),
            Some(Err(why)) => return broken(why),
            None => return Error::Lost { detail: "the connection ended".into() },
        }
    }
}

fn accept(payload: Bytes, pending: &Pending) -> Result<(), Error> {
    let len = payload.len();
    let answer = PubSubResp::decode(payload).map_err(|why| Error::Protocol {
        detail: format!("a message of {len} bytes is not a valid answer: {why}"),
    })?;
    match answer.resp {
        // Sequences count from 1: the server could not read a request, and does not say which one will stay unanswered.
        Some(Resp::ErrorResp(error)) if answer.sequence == 0 => Err(Error::Protocol {
            detail: format!("it could not read a request and answered {:?}", error.message),
        }),
        Some(resp) => {
            pending.complete(answer.sequence, resp, len);
            Ok(())
        }
        None => Err(Error::Protocol { detail: format!("answer {} is empty", answer.sequence) }),
    }
}

/// Writes requests, and a Close once no more can come. Returns only if the server reacts to neither.
async fn write(
    sink: &mut SplitSink<Socket, Message>,
    mut requests: mpsc::Receiver<Bytes>,
    close: &Notify,
    closing: &mut bool,
) -> Error {
    let written = loop {
        let request = tokio::select! {
            biased;
            request = requests.recv() => request,
            () = close.notified() => None,
        };
        let Some(request) = request else {
            *closing = true;
            let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
            break sink.send(Message::Close(Some(frame))).await;
        };
        if let Err(why) = send(sink, request, &mut requests).await {
            break Err(why);
        }
    };
    // The server's last message may still be on its way, and explains more than a failed write.
    sleep(CLOSE_TIMEOUT).await;
    match written {
        Ok(()) => Error::Timeout { after: CLOSE_TIMEOUT },
        Err(why) => broken(why),
    }
}

/// Writes `first` and all other waiting requests with one flush.
async fn send(
    sink: &mut SplitSink<Socket, Message>,
    first: Bytes,
    requests: &mut mpsc::Receiver<Bytes>,
) -> Result<(), tungstenite::Error> {
    sink.feed(Message::Binary(first)).await?;
    while let Ok(request) = requests.try_recv() {
        sink.feed(Message::Binary(request)).await?;
    }
    sink.flush().await
}

fn closed(frame: Option<CloseFrame>, pending: &Pending) -> Error {
    match frame {
        Some(frame) => {
            let (code, reason): (u16, _) = (frame.code.into(), frame.reason.as_str());
            let reason = match pending.not_renewed() {
                Some(Error::Command { message, .. }) if code == UNAUTHORIZED => {
                    format!("{reason}: {message}")
                }
                Some(why) if code == UNAUTHORIZED => format!("{reason}: failed to {why}"),
                _ => reason.to_owned(),
            };
            Error::Closed { code, reason }
        }
        None => Error::Closed { code: CloseCode::Status.into(), reason: String::new() },
    }
}

fn broken(why: tungstenite::Error) -> Error {
    use tungstenite::Error::{Capacity, Protocol, Utf8};
    use tungstenite::error::ProtocolError::ResetWithoutClosingHandshake;
    match why {
        Protocol(ResetWithoutClosingHandshake) => Error::Lost { detail: "it ended without a Close".into() },
        Protocol(why) => Error::Protocol { detail: why.to_string() },
        Capacity(why) => Error::Protocol { detail: why.to_string() },
        Utf8(why) => Error::Protocol { detail: why },
        why => Error::Lost { detail: why.to_string() },
    }
}

/// Limit for the answer to a Close, or for the reason of a failed write.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
