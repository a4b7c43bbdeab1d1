//! Keys behind a URL that changes, fails and comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rustls::RootCertStore;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

/// A server of keys, whose answer a test changes.
struct Server {
    url: Uri,
    answer: Arc<std::sync::Mutex<String>>,
    asked: Arc<AtomicU32>,
}

impl Server {
    async fn start(answer: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/jwks", listener.local_addr().unwrap()).parse().unwrap();
        let (answer, asked) = (Arc::new(std::sync::Mutex::new(answer)), Arc::new(AtomicU32::new(0)));
        let (current, count) = (Arc::clone(&answer), Arc::clone(&asked));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let answer = current.lock().unwrap().clone();
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Self { url, answer, asked }
    }

    fn source(&self) -> Source {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let tls = tls.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
        Source::url(self.url.clone(), tls)
    }

    fn says(&self, answer: String) {
        *self.answer.lock().unwrap() = answer;
    }

    fn asked(&self) -> u32 {
        self.asked.load(Ordering::Relaxed)
    }
}

fn set(ids: &[&str]) -> String {
    set_of(&ids.iter().map(|id| (*id, "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")).collect::<Vec<_>>())
}

/// The keys with these ids and points.
fn set_of(keys: &[(&str, &str)]) -> String {
    let key = |(id, x): &(&str, &str)| format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"{id}","x":"{x}"}}"#);
    let keys: Vec<String> = keys.iter().map(key).collect();
    let body = format!(r#"{{"keys":[{}]}}"#, keys.join(","));
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

async fn has(source: &Source, id: &str) -> Option<bool> {
    let keys = source.keys_of(Algorithm::EdDSA, Some(id)).await.ok()?;
    Some(keys.of(Algorithm::EdDSA, Some(id)).next().is_some())
}

/// Moves the clock, which otherwise runs: a server's answers take real time.
async fn later(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

const DOWN: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn many_tokens_share_one_request() {
    let server = Server::start(set(&["a"])).await;
    let source = Arc::new(server.source());
    let asks: Vec<_> = (0..1000)
        .map(|_| {
            let source = Arc::clone(&source);
            tokio::spawn(async move { has(&source, "a").await })
        })
        .collect();
    for ask in asks {
        assert_eq!(ask.await.unwrap(), Some(true));
    }
    assert_eq!(server.asked(), 1);
}

#[tokio::test]
async fn clients_that_leave_cause_one_request() {
    let server = Server::start(set(&["a"])).await;
    let source = Arc::new(server.source());
    for id in 0..100 {
        let source = Arc::clone(&source);
        let asks = tokio::spawn(async move { has(&source, &id.to_string()).await });
        tokio::task::yield_now().await;
        asks.abort();
    }
    assert_eq!((has(&source, "a").await, server.asked()), (Some(true), 1));
}

#[tokio::test]
async fn new_key_is_asked_for_once_in_a_while() {
    let server = Server::start(set(&["a"])).await;
    let source = server.source();
    assert_eq!(has(&source, "a").await, Some(true));
    server.says(set(&["a", "b"]));
    for id in 0..100 {
        assert_eq!(has(&source, &id.to_string()).await, Some(false));
    }
    assert_eq!((has(&source, "b").await, server.asked()), (Some(false), 1));
    later(REST).await;
    assert_eq!((has(&source, "b").await, server.asked()), (Some(true), 2));
    for id in 0..100 {
        assert_eq!(has(&source, &id.to_string()).await, Some(false));
    }
    assert_eq!(server.asked(), 2);
}

#[tokio::test]
async fn withdrawn_key_is_forgotten_in_time() {
    let server = Server::start(set(&["a", "b"])).await;
    let source = server.source();
    assert_eq!(has(&source, "a").await, Some(true));
    server.says(set(&["b"]));
    later(MAX_AGE - Duration::from_secs(1)).await;
    assert_eq!(has(&source, "a").await, Some(true));
    later(Duration::from_secs(1)).await;
    assert_eq!((has(&source, "a").await, has(&source, "b").await), (Some(false), Some(true)));
}

#[tokio::test]
async fn known_keys_stay_while_the_url_is_down() {
    let server = Server::start(DOWN.to_owned()).await;
    let source = server.source();
    assert_eq!(has(&source, "a").await, None);
    assert_eq!((has(&source, "a").await, server.asked()), (None, 1));
    server.says(set(&["a"]));
    later(REST).await;
    assert_eq!(has(&source, "a").await, Some(true));
    for answer in [DOWN, "", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}"] {
        server.says(answer.to_owned());
        later(MAX_AGE).await;
        assert_eq!(has(&source, "a").await, Some(true), "{answer}");
    }
}

#[tokio::test]
async fn set_of_any_size_is_not_read() {
    // Spaces are JSON, too.
    let padded = |more: usize| {
        let [ids, spaces] = [set(&["a"]), " ".repeat(more)];
        let (_, body) = ids.split_once("\r\n\r\n").unwrap();
        let len = body.len() + more;
        format!("HTTP/1.1 200 OK\r\ncontent-length: {len}\r\nconnection: close\r\n\r\n{body}{spaces}")
    };
    for (more, known) in [(200_000, Some(true)), (262_144, None)] {
        let server = Server::start(padded(more)).await;
        assert_eq!(has(&server.source(), "a").await, known, "{more} more bytes");
    }
}

#[tokio::test]
async fn weak_keys_do_not_replace_good_ones() {
    let (weak, good) = ("AAAA", "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
    let server = Server::start(set(&["a"])).await;
    let source = server.source();
    for (keys, has_a, has_b) in [
        (&[("a", good)][..], true, false),
        (&[("a", weak)], true, false),
        (&[("a", weak), ("b", good)], true, true),
        (&[("b", good), ("c", weak)], false, true),
        (&[("a", weak), ("b", good)], false, true),
    ] {
        server.says(set_of(keys));
        later(MAX_AGE).await;
        let found = (has(&source, "a").await, has(&source, "b").await);
        assert_eq!(found, (Some(has_a), Some(has_b)), "{keys:?}");
    }
}
