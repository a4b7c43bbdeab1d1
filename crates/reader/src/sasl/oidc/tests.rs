//! Against a small endpoint: how often it is called, and how its responses are handled.

use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::*;

/// Answers the request number n with what `answer` says to n, until it is dropped.
pub(crate) struct Endpoint {
    url: String,
    requests: Arc<Mutex<Vec<String>>>,
    _accepting: JoinSet<()>,
}

impl Endpoint {
    pub(crate) async fn start(answer: impl Fn(usize) -> (u16, String) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/token?tenant=url-secret", listener.local_addr().expect("an address"));
        let requests = Arc::<Mutex<Vec<_>>>::default();
        let seen = Arc::clone(&requests);
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            loop {
                let (mut stream, request) = accepted(&listener).await;
                seen.lock().push(String::from_utf8(request).expect("text"));
                let (status, body) = answer(seen.lock().len() - 1);
                let head = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n\r\n", body.len());
                // A client that has read enough may be gone.
                let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
            }
        });
        Self { url, requests, _accepting: accepting }
    }

    pub(crate) fn source(&self, scope: Option<&str>) -> Arc<Oidc> {
        source(&self.url, scope)
    }

    fn times(&self) -> usize {
        self.requests.lock().len()
    }
}

fn source(url: &str, scope: Option<&str>) -> Arc<Oidc> {
    let credentials = ClientCredentials {
        id: "me".to_owned(),
        secret: Secret::new("client-secret"),
        scope: scope.map(str::to_owned),
    };
    Arc::new(Oidc::new(url.parse().expect("a URL"), None, credentials))
}

fn complete(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let len = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
    body.len() >= len.parse().expect("a length")
}

pub(crate) fn granted(token: &str, seconds: u64) -> (u16, String) {
    (200, format!(r#"{{"access_token":"{token}","token_type":"Bearer","expires_in":{seconds}}}"#))
}

/// An endpoint that grants tokens `t0`, `t1`, …, for so many seconds each.
async fn granting(seconds: u64) -> (Endpoint, Arc<Oidc>) {
    let endpoint = Endpoint::start(move |number| granted(&format!("t{number}"), seconds)).await;
    let source = endpoint.source(None);
    (endpoint, source)
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

/// Lets this time pass at once.
pub(crate) async fn pass(time: Duration) {
    tokio::time::pause();
    // Tasks that wait have to begin to.
    tokio::task::yield_now().await;
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[track_caller]
fn check(token: Result<Secret, TokenFault>, want: &str) {
    assert_eq!(token.map(|token| token.expose().to_owned()).expect("a token"), want);
}

#[tokio::test]
async fn request_matches_librdkafkas() {
    let endpoint = Endpoint::start(|_| granted("t", 60)).await;
    check(endpoint.source(Some("api://kafka/.default b&c")).token(soon()).await, "t");
    let request = endpoint.requests.lock()[0].clone();
    let (head, body) = request.split_once("\r\n\r\n").expect("a body");
    assert!(head.starts_with("POST /token?tenant=url-secret HTTP/1.1\r\n"), "{head}");
    // `me:client-secret`.
    assert!(head.contains("authorization: Basic bWU6Y2xpZW50LXNlY3JldA=="), "{head}");
    assert!(head.contains("content-type: application/x-www-form-urlencoded"), "{head}");
    assert_eq!(body, "grant_type=client_credentials&scope=api://kafka/.default+b%26c");
    check(endpoint.source(None).token(soon()).await, "t");
    assert!(endpoint.requests.lock()[1].ends_with("\r\n\r\ngrant_type=client_credentials"));
}

#[tokio::test]
async fn concurrent_callers_share_one_request() {
    let endpoint = Endpoint::start(|number| match number {
        0 => (503, String::new()),
        _ => granted(&format!("t{number}"), 60),
    })
    .await;
    let source = endpoint.source(None);
    let (a, b) = tokio::join!(source.token(soon()), source.token(soon()));
    assert!(a.is_err() && b.is_err());
    assert_eq!(endpoint.times(), 1);
    let (a, b, c) = tokio::join!(source.token(soon()), source.token(soon()), source.token(soon()));
    for token in [a, b, c, source.token(soon()).await] {
        check(token, "t1");
    }
    assert_eq!(endpoint.times(), 2);
}

#[tokio::test]
async fn rejected_token_is_replaced_unless_new() {
    let (endpoint, source) = granting(60).await;
    let refused = |token: &str| source.rejected(&Secret::new(token));
    check(source.token(soon()).await, "t0");
    assert!(!refused("t0"), "no broker has ever taken one");
    check(source.token(soon()).await, "t0");
    source.accepted();
    assert!(!refused("t0"), "the next one would be refused as well");
    check(source.token(soon()).await, "t0");
    assert_eq!(endpoint.times(), 1);

    pass(YOUNG).await;
    assert!(refused("t0") && refused("t0"));
    check(source.token(soon()).await, "t1");
    assert!(refused("t0"), "the next one is there");
    assert!(!refused("t1"));
    check(source.token(soon()).await, "t1");
    assert_eq!(endpoint.times(), 2);
}

#[tokio::test]
async fn rejection_of_every_token_is_permanent() {
    let (_endpoint, source) = granting(60).await;
    check(source.token(soon()).await, "t0");
    pass(YOUNG).await;
    assert!(!source.rejected(&Secret::new("t0")));
    check(source.token(soon()).await, "t1");
}

#[tokio::test]
async fn lifetime_is_a_number_a_string_or_a_claim() {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a time").as_secs();
    let token = |claims: String| format!("e30.{}.s", URL_SAFE_NO_PAD.encode(claims));
    let lasting = token(format!(r#"{{"exp":{}}}"#, now + 3600));
    let expired = token(format!(r#"{{"exp":{}}}"#, now - 3600));
    for (token, member, times) in [
        ("t", r#","expires_in":"3599""#, 1),
        ("t", r#","expires_in":3599.0"#, 1),
        ("t", r#","expires_in":1e12"#, 1),
        (&*lasting, "", 1),
        (&*lasting, r#","expires_in":"soon""#, 1),
        (&*lasting, r#","expires_in":0"#, 2),
        (&*expired, "", 2),
        ("t", r#","expires_in":-1"#, 2),
        ("t", r#","expires_in":"inf""#, 2),
        ("t", r#","expires_in":null"#, 2),
        ("t", "", 2),
    ] {
        let body = format!(r#"{{"access_token":"{token}"{member}}}"#);
        let endpoint = Endpoint::start(move |_| (200, body.clone())).await;
        let source = endpoint.source(None);
        check(source.token(soon()).await, token);
        check(source.token(soon()).await, token);
        assert_eq!(endpoint.times(), times, "{member}");
    }
}

/// Waits for the endpoint's count: the clock stands still meanwhile.
async fn asked(endpoint: &Endpoint, times: usize, source: &Oidc) {
    while endpoint.times() < times || source.requesting.try_lock().is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn token_is_renewed_before_it_expires() {
    let endpoint = Endpoint::start(|number| match number {
        1 => (500, String::new()),
        _ => granted(&format!("t{number}"), 100),
    })
    .await;
    let source = endpoint.source(None);
    check(source.token(soon()).await, "t0");
    pass(Duration::from_secs(79)).await;
    check(source.token(soon()).await, "t0");
    assert_eq!(endpoint.times(), 1);

    pass(Duration::from_secs(2)).await;
    check(source.token(soon()).await, "t0");
    asked(&endpoint, 2, &source).await;
    // The request failed: the old token is still valid, and the endpoint is left alone for a while.
    check(source.token(soon()).await, "t0");
    assert_eq!(endpoint.times(), 2);

    pass(RENEWAL + Duration::from_secs(1)).await;
    check(source.token(soon()).await, "t0");
    asked(&endpoint, 3, &source).await;
    check(source.token(soon()).await, "t2");
}

#[tokio::test]
async fn only_tokens_in_use_are_renewed() {
    let (endpoint, source) = granting(100).await;
    check(source.token(soon()).await, "t0");
    pass(Duration::from_secs(81)).await;
    asked(&endpoint, 2, &source).await;

    pass(Duration::from_secs(81)).await;
    let decided = || source.renewal.lock().as_ref().is_some_and(AbortHandle::is_finished);
    while !decided() {
        tokio::task::yield_now().await;
    }
    assert!(source.requesting.try_lock().is_ok(), "a request is under way");
    assert_eq!(endpoint.times(), 2);
    // It is used on until it expires.
    check(source.token(soon()).await, "t1");
}

#[tokio::test]
async fn response_without_a_token_is_quoted_by_code_only() {
    let refusal = r#"{"error":"invalid_client","error_description":"client-secret is wrong"}"#;
    let long = format!(r#"{{"access_token":"{}"}}"#, "t".repeat(MAX_ANSWER));
    let unusable = "sent no usable token: expected JSON with an `access_token`";
    for (status, body, want, retriable) in [
        (401, refusal, "answered with HTTP status 401 (invalid_client)", false),
        (400, r#"{"error":"client-secret"}"#, "answered with HTTP status 400", false),
        (503, "busy", "answered with HTTP status 503", true),
        (429, "{}", "answered with HTTP status 429", true),
        (302, "", "answered with HTTP status 302", false),
        (200, "", unusable, false),
        (200, "{}", unusable, false),
        (200, "[]", unusable, false),
        (200, r#"{"access_token":1}"#, unusable, false),
        (200, r#"{"access_token":"a b"}"#, unusable, false),
        (200, &long, "answered with more than 65536 bytes", false),
        (503, &long, "answered with HTTP status 503", true),
    ] {
        let sent = body.to_owned();
        let endpoint = Endpoint::start(move |_| (status, sent.clone())).await;
        let fault = endpoint.source(None).token(soon()).await.expect_err("a fault");
        let want = format!("the token endpoint {} {want}", endpoint.url.split('?').next().expect("a URL"));
        assert_eq!((fault.what, fault.retriable), (want, retriable), "{status} {body:.40}");
    }
}

/// A port that accepts connections, and a source that asks there.
async fn listen() -> (TcpListener, Arc<Oidc>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let source = source(&format!("http://{}/", listener.local_addr().expect("an address")), None);
    (listener, source)
}

/// The next connection, whose request was read.
async fn accepted(listener: &TcpListener) -> (TcpStream, Vec<u8>) {
    let (mut stream, _) = listener.accept().await.expect("a connection");
    let mut request = Vec::new();
    while !complete(&request) && stream.read_buf(&mut request).await.expect("a request") > 0 {}
    (stream, request)
}

/// Whether it is truncated, or without an end.
#[tokio::test]
async fn broken_answer_is_retriable() {
    let truncated = "HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{\"access_token\":\"t\"}";
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    for (head, rest, told) in [
        (truncated, None, "did not answer to the end"),
        ("", Some("HTTP/1.1 100 Continue\r\n\r\n"), "did not answer with HTTP/1.1"),
        (chunked, Some("0000000000000001\r\n \r\n"), "did not answer to the end"),
    ] {
        let (listener, source) = listen().await;
        let flood = async {
            let (mut stream, _) = accepted(&listener).await;
            stream.write_all(head.as_bytes()).await.expect("an open stream");
            let Some(part) = rest.map(|part| part.repeat(1000)) else { return };
            while stream.write_all(part.as_bytes()).await.is_ok() {}
        };
        let (token, ()) = tokio::join!(source.token(soon()), flood);
        let fault = token.expect_err("no answer");
        assert!(fault.retriable && fault.what.contains(told), "{fault:?}");
    }
}

#[tokio::test]
async fn unreachable_endpoint_is_retriable() {
    // It is asked anew for each.
    let endpoint = Endpoint::start(|_| granted("t", 0)).await;
    let source = endpoint.source(None);
    drop(endpoint);
    while source.token(soon()).await.is_ok() {}
    let fault = source.token(soon()).await.expect_err("nobody is there");
    assert!(fault.retriable && fault.what.contains("cannot be reached"), "{fault:?}");
}

#[tokio::test(start_paused = true)]
async fn silent_endpoint_times_out() {
    let (_listener, source) = listen().await;
    let fault = source.token(soon()).await.expect_err("no answer");
    assert!(fault.retriable && fault.what.ends_with("did not answer in time"), "{fault:?}");
    assert!(!format!("{source:?}").contains("client-secret"));
}
