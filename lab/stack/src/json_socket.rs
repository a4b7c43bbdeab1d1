//! A client of JSON sessions on tokio-tungstenite.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code: a failure is a panic"
)]

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use sluicegate_protocol::codec::JSON_SUBPROTOCOL;
use sluicegate_protocol::metadata::WRITE;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
pub use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::stack::Stack;

/// One open session. A violation of the protocol, or 20 s without a message, panics.
#[derive(Debug)]
pub struct JsonSocket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl JsonSocket {
    pub async fn open(stack: &Stack) -> Self {
        Self::open_with(upgrade(&stack.url())).await
    }

    pub async fn open_with(mut request: Request) -> Self {
        // Has an effect only without a gateway.
        request.headers_mut().insert(WRITE, "true".parse().unwrap());
        // tungstenite refuses a response that does not agree to the subprotocol.
        let (socket, _) = timeout(WITHIN, connect_async(request)).await.expect("an upgrade").unwrap();
        Self(socket)
    }

    pub async fn send(&mut self, text: impl Into<String>) {
        timeout(WITHIN, self.0.send(Message::text(text.into()))).await.expect("room for a message").unwrap();
    }

    pub async fn receive(&mut self) -> Value {
        self.receive_or_close().await.unwrap_or_else(|close| panic!("{close:?} instead of an answer"))
    }

    /// The next message, or the code and the reason with which the session was closed.
    pub async fn receive_or_close(&mut self) -> Result<Value, (u16, String)> {
        loop {
            match timeout(WITHIN, self.0.next()).await.expect("a message in time") {
                Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(Some(close)))) => {
                    return Err((close.code.into(), close.reason.to_string()));
                }
                Some(Ok(Message::Ping(_))) => {}
                other => panic!("{other:?} came where an answer was expected"),
            }
        }
    }
}

/// The request for a JSON session at this URL.
pub fn upgrade(url: &str) -> Request {
    let mut request = url.into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", JSON_SUBPROTOCOL.parse().unwrap());
    request
}

/// Far longer than anything takes on a machine that is busy with other tests.
const WITHIN: Duration = Duration::from_secs(20);
