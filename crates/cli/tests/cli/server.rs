//! A WebSocket server whose sessions a test scripts.

use futures_util::{SinkExt, StreamExt};
use prost::Message as _;
use sluicegate_protocol::{PubSubReq, PubSubResp, SessionResp};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;

use super::*;

pub(crate) struct Session(WebSocketStream<TcpStream>);

impl Session {
    /// The next request; none when the client closes. A question for the session's limits before it is answered.
    pub(crate) async fn request(&mut self) -> Option<(i64, Req)> {
        loop {
            match self.any_request().await? {
                (sequence, Req::CmdSession(_)) => self.tell_limits(sequence).await,
                request => return Some(request),
            }
        }
    }

    /// The next request of any kind; none when the client closes.
    pub(crate) async fn any_request(&mut self) -> Option<(i64, Req)> {
        match self.message().await? {
            Message::Binary(payload) => {
                let request = PubSubReq::decode(payload).unwrap();
                Some((request.sequence, request.req.unwrap()))
            }
            Message::Close(_) => {
                // Reading on sends the echo.
                self.0.next().await;
                None
            }
            _ => None,
        }
    }

    /// Answers a question for the session's limits.
    pub(crate) async fn tell_limits(&mut self, sequence: i64) {
        let limits = SessionResp { max_message_bytes: 1 << 20, ..Default::default() };
        self.answer(sequence, Resp::SessionResp(limits)).await;
    }

    /// The next message of any kind.
    pub(crate) async fn message(&mut self) -> Option<Message> {
        self.0.next().await?.ok()
    }

    /// Ignores errors: the program may have ended.
    pub(crate) async fn answer(&mut self, sequence: i64, resp: Resp) {
        let answer = PubSubResp { sequence, resp: Some(resp) };
        let _ = self.0.send(Message::Binary(answer.encode_to_vec().into())).await;
    }

    pub(crate) async fn send(&mut self, message: Message) {
        let _ = self.0.send(message).await;
    }
}

/// A URL at which the first session is played by `part`.
pub(crate) async fn serve<F>(part: impl FnOnce(Session) -> F + Send + 'static) -> String
where
    F: Future<Output = ()> + Send + 'static,
{
    let (listener, url) = listener().await;
    tokio::spawn(async move {
        part(accept(&listener).await).await;
    });
    url
}

/// A URL at which the first command gets these answers; and the command.
pub(crate) async fn tell(answers: Vec<Resp>) -> (String, oneshot::Receiver<Req>) {
    let (asked, command) = oneshot::channel();
    let url = serve(async |mut session: Session| {
        let (sequence, request) = session.request().await.unwrap();
        let _ = asked.send(request);
        for answer in answers {
            session.answer(sequence, answer).await;
        }
        session.request().await;
    });
    (url.await, command)
}

/// A server from before all commands.
pub(crate) async fn know_nothing(mut session: Session) {
    while let Some((sequence, _)) = session.request().await {
        session.answer(sequence, failed("unknown command")).await;
    }
}

pub(crate) fn failed(message: &str) -> Resp {
    Resp::ErrorResp(ErrorResp { message: message.into(), ..Default::default() })
}

/// The URL of an HTTP server that gives these answers, each with a status and on its own connection; and the heads of the
/// requests.
pub(crate) async fn http(answers: Vec<(u16, String)>) -> (String, JoinHandle<Vec<String>>) {
    let (listener, url) = listener().await;
    let heads = tokio::spawn(async move {
        let mut heads = Vec::new();
        for (status, body) in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            heads.push(String::from_utf8(head).unwrap());
            let answer =
                format!("HTTP/1.1 {status} x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
            // A client does not read what exceeds its limit.
            let _ = stream.write_all((answer + &body).as_bytes()).await;
        }
        heads
    });
    (url.replace("ws:", "http:").replace("/pubsub", ""), heads)
}

pub(crate) async fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/pubsub", listener.local_addr().unwrap());
    (listener, url)
}

pub(crate) async fn accept(listener: &TcpListener) -> Session {
    let (stream, _) = listener.accept().await.unwrap();
    Session(tokio_tungstenite::accept_async(stream).await.unwrap())
}
