//! Simple HTTP/1.1 requests, for readiness and statistics. [`client`] is the full client.

pub mod client;

use std::net::SocketAddr;

use self::client::{Client, Request, Response};

/// `GET http://ADDRESS PATH` on a new connection, within 30 s: a bridge that was built without optimization needs seconds to
/// encode hundreds of answers.
pub async fn get(address: SocketAddr, path: &str) -> Result<Response, String> {
    let answer = async { Client::connect(address).await?.ask(Request::get(path)).await };
    answer.await.map_err(|error| format!("GET http://{address}{path}: {error}"))
}

/// Whether `GET` of the path is answered with 200.
pub(crate) async fn is_ok(address: SocketAddr, path: &str) -> Result<(), String> {
    match get(address, path).await? {
        Response { status: 200, .. } => Ok(()),
        answer => Err(format!("{} {}", answer.status, answer.text().trim())),
    }
}
