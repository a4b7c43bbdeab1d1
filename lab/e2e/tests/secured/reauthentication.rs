//! Sessions that the broker ends unless they are renewed (KIP-368): clients notice nothing.

use std::fs;
use std::time::Duration;

use bytes::{Buf, BufMut};
use futures_util::future::join_all;
use sluicegate_stack::kafka::secured::{READER, SESSION, Secured, listener, password};
use sluicegate_stack::kafka::{Record, Write};
use sluicegate_stack::socket::{fetch, messages};
use sluicegate_stack::stack::Stack;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::secured::gateway::{open, with};
use crate::secured::log;
use crate::secured::section::Section;

#[tokio::test]
async fn reads_outlast_their_kafka_sessions() {
    let kafka = Secured::shared().await.unwrap();
    let at = kafka.kafka.bootstrap_of(listener::SHORT).unwrap();
    let section = |name| Section::new(name, &at, "sasl_plaintext");
    let sections = [section("plain").user("PLAIN", READER), section("scram").user("SCRAM-SHA-512", READER)];
    // Longer than the walk.
    let stack = with(&sections, "[read]\nwait_ms = 30000\n").await;
    let before = killed(kafka);
    let both = sections.iter().map(async |section| {
        let topic = kafka.kafka.topic("wait", 1, &[]).await.unwrap();
        let mut waiting = open(&stack, section.name).await;
        let asked = waiting.send(fetch(&topic, 0, 0)).await;
        walk(kafka, &stack, section.name).await;
        kafka.kafka.produce(&topic, 0, &[Record::of("late")], Write::default()).await.unwrap();
        let (sequence, resp) = waiting.receive().await;
        assert_eq!(sequence, asked);
        assert_eq!(messages(resp).unwrap().len(), 1, "{}", section.name);
    });
    join_all(both).await;
    assert_eq!(killed(kafka), before, "connections that the broker ended");

    // One that is not renewed is ended, and the log tells.
    ask_until_disconnected(kafka).await;
    assert_eq!(killed(kafka), before + 1, "connections that the broker ended");
}

/// Clients walk until several sessions are over, and miss nothing.
async fn walk(kafka: &Secured, stack: &Stack, cluster: &str) {
    let log = log(&kafka.kafka).await;
    let begun = Instant::now();
    let walks = (0..CLIENTS).map(async |_| {
        let mut socket = open(stack, cluster).await;
        while begun.elapsed() < WALK {
            log.check_walk(&mut socket, cluster).await;
        }
    });
    join_all(walks).await;
}

/// Connections to the listener that the broker has ended because they were not renewed.
fn killed(kafka: &Secured) -> usize {
    let log = fs::read_to_string(kafka.kafka.nodes[0].process.log()).unwrap();
    let thread = format!("-{}-SASL_", listener::SHORT);
    log.lines()
        .filter(|line| line.contains(&thread) && line.contains("Disconnecting expired channel"))
        .count()
}

/// Authenticates once and asks until the broker ends the connection.
async fn ask_until_disconnected(kafka: &Secured) {
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

/// Three sessions and the beginning of a fourth.
const WALK: Duration = SESSION.saturating_mul(13).checked_div(4).unwrap();
const CLIENTS: usize = 2;
const SASL_HANDSHAKE: i16 = 17;
const API_VERSIONS: i16 = 18;
const SASL_AUTHENTICATE: i16 = 36;
