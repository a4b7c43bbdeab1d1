//! A registry over HTTP/1.1.

use rustls::{ClientConfig, RootCertStore};
use sluicegate_tls_faults::Settings;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

fn http(url: &str, credentials: Option<Credentials>) -> Result<Http, InvalidHttp> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let tls = tls.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    let settings = Settings { ca: "ca", certificate: None, names: None, revoked: None };
    Http::new(&url.parse().unwrap(), credentials.as_ref(), tls, settings)
}

/// A registry's answer to a request, and the request in lower case.
async fn exchange(
    credentials: Option<Credentials>,
    body: Option<&'static str>,
    answer: (&'static str, usize, Duration),
) -> (Result<Response, Unanswered>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/apis/ccompat/v7/", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 4096];
        let len = stream.read(&mut request).await.unwrap();
        let (head, bytes, pause) = answer;
        let _ = stream.write_all(head.as_bytes()).await;
        for part in vec![b' '; bytes].chunks(64 * 1024) {
            sleep(pause).await;
            let _ = stream.write_all(part).await;
        }
        String::from_utf8_lossy(&request[..len]).to_lowercase()
    });
    let http = http(&url, credentials).unwrap();
    let request = Request { path: "/subjects/a%2Fb".to_owned(), body: body.map(Bytes::from) };
    let response = http.send(request).await;
    (response, server.await.unwrap())
}

#[tokio::test]
async fn requests_have_prefix_credentials_and_types() {
    let ok = ("HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\n{}", 0, Duration::ZERO);
    let basic = Credentials::Basic("me".to_owned(), "päss:word".to_owned());
    let bearer = Credentials::Bearer("abc.def".to_owned());
    let types = "accept: application/vnd.schemaregistry.v1+json, application/json\r\n";
    for (credentials, body, want) in [
        (None, None, &["get /apis/ccompat/v7/subjects/a%2fb http/1.1\r\n", types][..]),
        (Some(basic), None, &["authorization: basic bwu6cmokc3m6d29yza==\r\n"]),
        (
            Some(bearer),
            Some("{}"),
            &[
                "post /apis/ccompat/v7/subjects/a%2fb http/1.1\r\n",
                "content-type: application/vnd.schemaregistry.v1+json\r\n",
                "authorization: bearer abc.def\r\n",
            ],
        ),
    ] {
        let (response, request) = exchange(credentials, body, ok).await;
        assert_eq!(response.unwrap(), Response { status: 404, body: Bytes::from("{}") });
        assert!(want.iter().all(|part| request.contains(part)), "{request}");
    }
}

#[tokio::test]
async fn redirect_is_an_answer() {
    let moved = "HTTP/1.1 302 Found\r\nlocation: http://192.0.2.1/\r\ncontent-length: 0\r\n\r\n";
    let (response, _) = exchange(None, None, (moved, 0, Duration::ZERO)).await;
    assert_eq!(response.unwrap().status, 302);
}

#[tokio::test]
async fn answer_of_any_size_is_not_read() {
    for (bytes, fits) in [(MAX_ANSWER, true), (MAX_ANSWER + 1, false)] {
        let (response, _) = exchange(None, None, ("HTTP/1.1 200 OK\r\n\r\n", bytes, Duration::ZERO)).await;
        assert_eq!(response.map(|response| response.body.len()).ok(), fits.then_some(MAX_ANSWER));
    }
}

#[tokio::test(start_paused = true)]
async fn slow_answer_is_not_waited_for() {
    let slow = ("HTTP/1.1 200 OK\r\n\r\n", MAX_ANSWER, Duration::from_secs(1));
    let (response, _) = exchange(None, None, slow).await;
    assert_eq!(response, Err(Unanswered::Failed("no answer within 5s".to_owned())));
}

#[test]
fn urls_without_a_place_and_tokens_that_end_headers_are_refused() {
    for url in ["/apis", "ftp://h/", "https://me:secret@h/", "https://h/?token=secret"] {
        assert_eq!(http(url, None).err(), Some(InvalidHttp::Url), "{url}");
    }
    for token in ["a b", "a\r\nx: y", "ä"] {
        let token = Some(Credentials::Bearer(token.to_owned()));
        assert_eq!(http("https://h", token).err(), Some(InvalidHttp::Token));
    }
    assert_eq!(http("https://h:1/v7/", None).unwrap().shown(), "h:1/v7/");
}
