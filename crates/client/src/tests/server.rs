//! The other side of one session, played by a test.

use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};

use super::*;

/// The server's end of a session.
pub(super) struct Peer(WebSocketStream<TcpStream>);

impl Peer {
    /// The next WebSocket message; none once the client is gone.
    pub(super) async fn message(&mut self) -> Option<Message> {
        self.0.next().await?.ok()
    }

    /// The next message, which must be a request. A question for the session's limits before it is answered.
    pub(super) async fn request(&mut self) -> (i64, Req) {
        loop {
            match self.any_request().await {
                (sequence, Req::CmdSession(_)) => self.answer(sequence, unknown_command()).await,
                request => return request,
            }
        }
    }

    async fn any_request(&mut self) -> (i64, Req) {
        decode(self.message().await.expect("the client is gone"))
    }

    /// Answers a produce command, and gives its records.
    pub(super) async fn write(&mut self, results: Vec<Produced>) -> Vec<ProduceRecord> {
        let (sequence, Req::CmdKafkaProduce(command)) = self.request().await else { panic!("no produce") };
        self.answer(sequence, Resp::KafkaProduceResp(KafkaProduceResp { results })).await;
        command.records
    }

    /// Answers the next message, which must be a question for the session's limits. Returns its sequence.
    pub(super) async fn tell_limits(&mut self, answer: Resp) -> i64 {
        let (sequence, request) = self.any_request().await;
        assert!(matches!(request, Req::CmdSession(_)), "{request:?}");
        self.answer(sequence, answer).await;
        sequence
    }

    /// The next request, which must be a ping.
    pub(super) async fn ping(&mut self) -> (i64, Bytes) {
        match self.request().await {
            (sequence, Req::CmdPing(ping)) => (sequence, ping.state),
            other => panic!("not a ping: {other:?}"),
        }
    }

    pub(super) async fn send(&mut self, message: Message) {
        self.0.send(message).await.expect("the client is gone");
    }

    pub(super) async fn answer(&mut self, sequence: i64, resp: Resp) {
        let answer = PubSubResp { sequence, resp: Some(resp) };
        self.send(Message::Binary(answer.encode_to_vec().into())).await;
    }

    pub(super) async fn pong(&mut self, sequence: i64, state: Bytes) {
        self.answer(sequence, Resp::PongResp(PongResp { state })).await;
    }

    /// The connection beneath the frames.
    pub(super) fn raw(&mut self) -> &mut TcpStream {
        self.0.get_mut()
    }

    /// Answers pings until the client is gone.
    pub(super) async fn answer_pings(mut self) {
        while let Some(message @ Message::Binary(_)) = self.message().await {
            match decode(message) {
                (sequence, Req::CmdPing(ping)) => self.pong(sequence, ping.state).await,
                (sequence, Req::CmdSession(_)) => self.answer(sequence, unknown_command()).await,
                other => panic!("not a ping: {other:?}"),
            }
        }
    }
}

fn decode(message: Message) -> (i64, Req) {
    let request = PubSubReq::decode(message.into_data()).expect("a request");
    (request.sequence, request.req.expect("a command"))
}

/// A client, and the server of its session, which plays `part`.
pub(super) async fn session<T, F>(part: impl FnOnce(Peer) -> F) -> (Client, JoinHandle<T>)
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let (client, peer) = connected(|builder| builder).await;
    (client, tokio::spawn(part(peer)))
}

/// A client with other settings, and the server of its session.
pub(super) async fn connected(change: impl FnOnce(Builder) -> Builder) -> (Client, Peer) {
    let (listener, url) = listener().await;
    let connecting = tokio::spawn(change(Client::builder(url)).connect());
    let peer = accept(&listener).await;
    (connecting.await.unwrap().unwrap(), peer)
}

/// A client of a server that gives these answers, and the commands that it got.
pub(super) async fn play(answers: Vec<Resp>) -> (Client, JoinHandle<Vec<Req>>) {
    session(async move |mut peer: Peer| {
        let mut asked = Vec::new();
        for answer in answers {
            let (sequence, command) = peer.request().await;
            asked.push(command);
            peer.answer(sequence, answer).await;
        }
        asked
    })
    .await
}

pub(super) async fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/pubsub", listener.local_addr().unwrap());
    (listener, url)
}

pub(super) async fn accept(listener: &TcpListener) -> Peer {
    accept_with(listener, &[]).await.0
}

/// The same, and the values of these headers of the upgrade.
pub(super) async fn accept_with(listener: &TcpListener, headers: &[&str]) -> (Peer, Vec<String>) {
    let (stream, _) = listener.accept().await.unwrap();
    let mut seen = Vec::new();
    #[expect(clippy::result_large_err, reason = "tungstenite's type")]
    let note = |request: &Request, answer: Response| -> Result<Response, ErrorResponse> {
        for name in headers {
            let values = request.headers().get_all(*name).iter();
            seen.extend(values.map(|value| format!("{name}: {}", value.to_str().unwrap())));
        }
        Ok(answer)
    };
    let socket = tokio_tungstenite::accept_hdr_async(stream, note).await.unwrap();
    (Peer(socket), seen)
}

/// The head of the next request; none at the end of the connection.
pub(super) async fn head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8(head).unwrap())
}

/// The answer of a server from before a command.
pub(super) fn unknown_command() -> Resp {
    Resp::ErrorResp(ErrorResp { message: "unknown command".into(), ..Default::default() })
}

/// The answer of a server that can succeed later.
pub(super) fn busy() -> Resp {
    Resp::ErrorResp(ErrorResp { code: 6, retriable: true, ..Default::default() })
}

/// An answer with one message for each of `offsets`.
pub(super) fn messages(offsets: impl IntoIterator<Item = i64>) -> Resp {
    let messages = offsets.into_iter().map(|offset| KafkaMessage { offset, ..Default::default() }).collect();
    Resp::KafkaFetchResp(KafkaFetchResp { messages, next_offset: 0, ..Default::default() })
}
