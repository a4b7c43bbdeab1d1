//! A client that never authenticates again: shows that the broker ends its session, as it must not end the bridge's.

use bytes::{Buf, BufMut};
use sluicegate_stack::kafka::secured::{READER, Secured, listener, password};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Authenticates once and asks until the broker ends the connection.
pub(crate) async fn ask_until_disconnected(kafka: &Secured) {
    let mut stream = TcpStream::connect(kafka.kafka.bootstrap_of(listener::SHORT).unwrap()).await.unwrap();
    let mut handshake = Vec::new();
    string(&mut handshake, "PLAIN");
    let answer = ask(&mut stream, SASL_HANDSHAKE, 1, &handshake).await.unwrap();
    assert_eq!((&answer[..]).get_i16(), 0, "the handshake's error");
    let message = format!("\0{READER}\0{}", password(READER));
    let mut authenticate = Vec::new();
    authenticate.put_i32(i32::try_from(message.len()).unwrap());
    authenticate.put(message.as_bytes());
    let answer = ask(&mut stream, SASL_AUTHENTICATE, 1, &authenticate).await.unwrap();
    assert_eq!((&answer[..]).get_i16(), 0, "the authentication's error");
    while ask(&mut stream, API_VERSIONS, 0, &[]).await.is_some() {}
}

/// A request with the header of version 1, and its answer without; `None` where the connection has ended.
async fn ask(stream: &mut TcpStream, api: i16, version: i16, body: &[u8]) -> Option<Vec<u8>> {
    let mut request = Vec::new();
    request.put_i16(api);
    request.put_i16(version);
    request.put_i32(0);
    string(&mut request, "stubborn");
    request.put(body);
    stream.write_i32(i32::try_from(request.len()).unwrap()).await.ok()?;
    stream.write_all(&request).await.ok()?;
    let len = stream.read_i32().await.ok()?;
    let mut answer = vec![0; usize::try_from(len).unwrap()];
    stream.read_exact(&mut answer).await.ok()?;
    Some(answer.split_off(size_of::<i32>()))
}

fn string(out: &mut Vec<u8>, text: &str) {
    out.put_i16(i16::try_from(text.len()).unwrap());
    out.put(text.as_bytes());
}

const SASL_HANDSHAKE: i16 = 17;
const API_VERSIONS: i16 = 18;
const SASL_AUTHENTICATE: i16 = 36;
