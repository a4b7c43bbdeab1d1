//! When a producer is created, against minimal token endpoints and brokers.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use sluicegate_backend::command::Record;
use sluicegate_fair_share::ClientKey;
use sluicegate_telemetry::metrics::Metrics;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{advance, pause, resume};

use super::super::Writer;
use super::*;

fn writer(properties: &[(&str, &str)]) -> Writer {
    let properties: BTreeMap<String, String> =
        properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let reader = sluicegate_reader::Config::from_properties(&properties).unwrap();
    Writer::new(Settings::parse(&properties).unwrap().with_reader(&reader), Metrics::default().writes("slot"))
}

/// A port that accepts connections, and its address.
async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

/// Hands a record over.
async fn enqueue(writer: &Writer) -> Result<(), NoProducer> {
    let record = Record { topic: "t".to_owned(), ..Record::default() };
    writer.enqueue(ClientKey::default(), vec![record], vec![None]).await.map(drop)
}

async fn has_producer(writer: &Writer) -> bool {
    writer.slot.state.read().await.working().is_some()
}

/// A broker that answers ApiVersions with these bytes after the correlation ID, by the requested version.
async fn serve(listener: TcpListener, versions: fn(i16) -> &'static [u8]) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(answer(stream, versions));
    }
}

async fn answer(mut stream: TcpStream, versions: fn(i16) -> &'static [u8]) {
    while let Ok(len) = stream.read_i32().await {
        let mut request = vec![0; usize::try_from(len).unwrap()];
        if stream.read_exact(&mut request).await.is_err() {
            return;
        }
        let Some(([key @ .., major, minor], rest)) = request.split_first_chunk::<4>() else { panic!() };
        assert_eq!(*key, [0, 18], "ApiVersions");
        let body = versions(i16::from_be_bytes([*major, *minor]));
        let len = u32::try_from(body.len() + 4).unwrap();
        // In one write: the system would delay a second one, and a paused clock does not wait for it.
        stream.write_all(&[&len.to_be_bytes(), &rest[..4], body].concat()).await.unwrap();
    }
}

/// The answer of a broker that supports ApiVersions 0 to 3.
fn sound(version: i16) -> &'static [u8] {
    match version {
        0 => &[0, 0, 0, 0, 0, 1, 0, 18, 0, 0, 0, 3],
        _ => &[0, 0, 2, 0, 18, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0],
    }
}

#[tokio::test]
async fn hanging_token_endpoint_fails_all_writers_at_once() {
    const WRITERS: usize = 50;
    let (endpoint, address) = listen().await;
    let (asked, attempts) = watch::channel(0);
    let hanging = tokio::spawn(async move {
        let mut open = Vec::new();
        loop {
            open.push(endpoint.accept().await.unwrap());
            asked.send_replace(open.len());
        }
    });
    let writer = writer(&[
        ("bootstrap.servers", "127.0.0.1:1"),
        ("security.protocol", "sasl_plaintext"),
        ("sasl.mechanism", "OAUTHBEARER"),
        ("sasl.oauthbearer.method", "oidc"),
        ("sasl.oauthbearer.client.id", "me"),
        ("sasl.oauthbearer.client.secret", "secret"),
        ("sasl.oauthbearer.token.endpoint.url", &format!("http://{address}/token")),
        ("socket.timeout.ms", "100"),
    ]);
    // A cancelled caller does not end the attempt.
    assert!(enqueue(&writer).now_or_never().is_none());
    let mut results = join_all((0..WRITERS).map(|_| enqueue(&writer))).await;
    pause();
    results.push(enqueue(&writer).await);
    assert_eq!(*attempts.borrow(), 1);
    for error in results.into_iter().map(Result::unwrap_err) {
        let NoProducer::Unreachable { cause, retriable: true } = error else { panic!("{error:?}") };
        assert!(cause.contains("did not answer in time"), "{cause}");
    }
    advance(RETRY).await;
    resume();
    enqueue(&writer).await.unwrap_err();
    assert_eq!(*attempts.borrow(), 2);
    hanging.abort();
}

#[tokio::test]
async fn broker_that_answers_null_versions_gets_no_producer() {
    let (listener, address) = listen().await;
    // A valid answer to version 0; later ones have no error and null for the versions.
    let serving = tokio::spawn(serve(listener, |version| if version == 0 { sound(0) } else { &[0; 8] }));
    let writer = writer(&[("bootstrap.servers", &address)]);
    let error = enqueue(&writer).await.unwrap_err();
    let NoProducer::Unreachable { cause, retriable: false } = error else { panic!("{error:?}") };
    assert!(cause.contains("empty list of versions in the response to ApiVersions 3"), "{cause}");
    assert!(!has_producer(&writer).await);
    serving.abort();
}

#[tokio::test(start_paused = true)]
async fn prepared_producer_waits_for_the_first_broker() {
    let (listener, address) = listen().await;
    drop(listener);
    let writer = writer(&[("bootstrap.servers", &address)]);
    let mut prepared = std::pin::pin!(writer.prepare());
    let brokerless = timeout_at(Instant::now() + Duration::from_secs(60), prepared.as_mut()).await;
    assert!(brokerless.is_err() && !has_producer(&writer).await);
    let serving = tokio::spawn(serve(TcpListener::bind(&address).await.unwrap(), sound));
    timeout_at(Instant::now() + Duration::from_secs(60), prepared).await.unwrap();
    assert!(has_producer(&writer).await);
    serving.abort();
}

#[tokio::test]
async fn closed_slot_makes_no_producer() {
    let writer = writer(&[("bootstrap.servers", "127.0.0.1:1")]);
    writer.close(Instant::now() + Duration::from_secs(10)).await;
    let error = enqueue(&writer).await.unwrap_err();
    assert_eq!(error, ending());
}
