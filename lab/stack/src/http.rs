//! Simple HTTP/1.1 requests, for readiness and statistics. [`client`] is the full client.

pub mod client;

use std::net::SocketAddr;

use self::client::{Client, Request};

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

/// `GET http://ADDRESS PATH` on a new connection, within 30 s: a bridge that was built without optimization needs seconds to
/// encode hundreds of answers.
pub async fn get(address: SocketAddr, path: &str) -> Result<Answer, String> {
    send(address, "GET", path).await
}

/// `POST http://ADDRESS PATH` without a body, for Envoy's admin commands.
pub async fn post(address: SocketAddr, path: &str) -> Result<Answer, String> {
    send(address, "POST", path).await
}

/// Whether `GET` of the path is answered with 200.
pub(crate) async fn is_ok(address: SocketAddr, path: &str) -> Result<(), String> {
    match get(address, path).await? {
        Answer { status: 200, .. } => Ok(()),
        Answer { status, body } => Err(format!("{path} says {status} {}", body.trim())),
    }
}

async fn send(address: SocketAddr, method: &str, path: &str) -> Result<Answer, String> {
    let answer = async { Client::connect(address).await?.ask(Request::new(method, path)).await };
    let answer = answer.await.map_err(|error| format!("{method} http://{address}{path}: {error}"))?;
    Ok(Answer { status: answer.status, body: String::from_utf8_lossy(&answer.body).into_owned() })
}
