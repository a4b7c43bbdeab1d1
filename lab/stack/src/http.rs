//! Simple HTTP/1.1 requests, for readiness and statistics. [`client`] is the full client.

pub mod client;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A response.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The whole body, as text.
    pub body: String,
}

/// `GET http://ADDRESS PATH` on a new connection, within 10 s.
///
/// # Errors
/// No complete response arrived.
///
/// # Cancel safety
/// The connection is closed.
pub async fn get(address: SocketAddr, path: &str) -> Result<Answer, String> {
    send(address, "GET", path).await
}

/// `POST http://ADDRESS PATH` without a body, for Envoy's admin commands.
///
/// # Errors
/// No complete response arrived.
///
/// # Cancel safety
/// The connection is closed; the request may have had its effect.
pub async fn post(address: SocketAddr, path: &str) -> Result<Answer, String> {
    send(address, "POST", path).await
}

async fn send(address: SocketAddr, method: &str, path: &str) -> Result<Answer, String> {
    match timeout(WITHIN, exchange(address, method, path)).await {
        Ok(result) => result.map_err(|e| format!("{method} http://{address}{path}: {e}")),
        Err(_) => Err(format!("{method} http://{address}{path}: no answer within {} s", WITHIN.as_secs())),
    }
}

async fn exchange(
    address: SocketAddr,
    method: &str,
    path: &str,
) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(http::header::HOST, address.to_string())
        .body(Empty::<Bytes>::new())?;
    let answer = async {
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await?.to_bytes();
        Ok(Answer { status, body: String::from_utf8_lossy(&body).into_owned() })
    };
    tokio::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        ended = connection => {
            ended?;
            answer.await
        }
    }
}

/// A bridge that was built without optimization needs seconds to encode hundreds of answers.
const WITHIN: Duration = Duration::from_secs(30);
