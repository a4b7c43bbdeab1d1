//! Answers that are too large, do not end, or come slowly.

use std::sync::Arc;

use rustls::RootCertStore;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};

use super::*;

const SETTINGS: Settings = Settings { ca: "ca", certificate: None, names: None, revoked: None };
const LIMITS: Limits = Limits { max_body: 256 * 1024, within: Duration::from_secs(5) };

/// The answer of a server that serves one connection so.
async fn ask<F: Future<Output = ()> + Send>(
    serve: impl FnOnce(TcpStream) -> F + Send + 'static,
) -> Result<Response<Bytes>, Failure> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let tls = tls.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4096]).await;
        serve(stream).await;
    });
    let request = Request::get(url).body(Full::default()).unwrap();
    Client::new(tls, SETTINGS, LIMITS).send(request).await
}

#[tokio::test]
async fn answer_without_an_end_is_not_read_to_it() {
    let many = |part: &str| part.repeat(10_000_000 / part.len());
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    for (answer, is_large) in [
        (many("HTTP/1.1 100 Continue\r\n\r\n"), true),
        (format!("{chunked}{}", many("1\r\n \r\n")), true),
        (format!("HTTP/1.1 200 OK\r\n\r\n{}", many(" ")), true),
        (format!("HTTP/1.1 200 OK\r\n{}", many("x: y\r\n")), false),
        (format!("HTTP/1.1 200 OK\r\nx: {}", many("y")), false),
    ] {
        let began = Instant::now();
        let serve = move |mut stream: TcpStream| async move {
            let _ = stream.write_all(answer.as_bytes()).await;
        };
        let error = ask(serve).await.unwrap_err();
        // Of a head that is too large, the HTTP library can complain first.
        assert!(error == Failure::TooLarge(LIMITS.max_body) || !is_large, "{error}");
        assert!(began.elapsed() < LIMITS.within / 2, "{error}: {:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn slow_answer_is_not_waited_for() {
    let interim = "HTTP/1.1 100 Continue\r\n\r\n";
    for (first, more) in
        [("HTTP/1.1 200 OK\r\n", "x: y\r\n"), ("HTTP/1.1 200 OK\r\n\r\n", "{"), (interim, interim)]
    {
        let began = Instant::now();
        let serve = move |mut stream: TcpStream| async move {
            let mut part = first;
            while stream.write_all(part.as_bytes()).await.is_ok() {
                part = more;
                sleep(Duration::from_secs(1)).await;
            }
        };
        assert_eq!(ask(serve).await.unwrap_err(), Failure::Late(LIMITS.within), "{first}");
        assert_eq!(began.elapsed(), LIMITS.within, "{first}");
    }
}

#[test]
fn url_in_the_log_has_host_port_and_path_only() {
    for url in ["http://h:1/jwks", "https://me:secret@h:1/jwks?key=secret"] {
        assert_eq!(shown(&url.parse().unwrap()), "h:1/jwks");
    }
}
