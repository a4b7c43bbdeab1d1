//! Authentication to brokers that accept it, refuse it, or are impostors.

use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages::{RequestKind, SaslAuthenticateResponse, SaslHandshakeResponse};
use kafka_protocol::protocol::StrBytes;
use parking_lot::Mutex;
use sluicegate_reader::{ReadError, Reader};

use crate::scripted::Broker;
use crate::support::{self, Calls as _, at};

/// The client's messages of the authentication, in order.
type Messages = Arc<Mutex<Vec<String>>>;

/// A listener that answers each message of the authentication with what `answer` says, and everything else once one was
/// answered without an error.
async fn broker(answer: fn(&str) -> SaslAuthenticateResponse) -> (Broker, Messages) {
    let messages = Messages::default();
    let seen = Arc::clone(&messages);
    let broker = Broker::start(move |asked| match &asked.kind {
        RequestKind::SaslHandshake(_) => asked.answer(&SaslHandshakeResponse::default()),
        RequestKind::SaslAuthenticate(request) => {
            let message = String::from_utf8(request.auth_bytes.to_vec()).expect("text");
            let response = answer(&message);
            seen.lock().push(message);
            asked.answer(&response)
        }
        _ => asked.usual(),
    })
    .await;
    (broker, messages)
}

fn refusal(message: String) -> SaslAuthenticateResponse {
    SaslAuthenticateResponse::default()
        .with_error_code(58)
        .with_error_message(Some(StrBytes::from_string(message)))
}

fn message(bytes: impl Into<Bytes>) -> SaslAuthenticateResponse {
    SaslAuthenticateResponse::default().with_auth_bytes(bytes.into())
}

fn reader(broker: &Broker, mechanism: &str, more: &[(&str, &str)]) -> Reader {
    let base = [("security.protocol", "sasl_plaintext"), ("sasl.mechanism", mechanism)];
    support::reader_with(&[broker.address], &[&base[..], more].concat())
}

const USER: [(&str, &str); 2] = [("sasl.username", "me"), ("sasl.password", "hunter2")];

/// Expects a permanent authorization error that contains `want`.
#[track_caller]
fn check_refused(error: &ReadError, want: &str) {
    let text = error.with_causes();
    assert!(text.ends_with(want), "{text}, expected: {want}");
    assert!(error.is_unavailable() && !error.retriable(), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

#[tokio::test]
async fn plain_authenticates_first_and_quotes_a_refusal_without_the_password() {
    let (accepting, messages) = broker(|_| message("")).await;
    let read = reader(&accepting, "PLAIN", &USER).read("t", at(0)).await;
    assert_eq!(read.expect("an empty answer").next_offset, 0);
    // On the connection for metadata, and on the one for fetches.
    assert_eq!(*messages.lock(), ["\0me\0hunter2"; 2]);
    let (refusing, _) = broker(|message| refusal(format!("no such user: {message}"))).await;
    let error = reader(&refusing, "PLAIN", &USER).read("t", at(0)).await.expect_err("a refusal");
    check_refused(&error, "SASL_AUTHENTICATION_FAILED: no such user:  me …");
}

#[tokio::test]
async fn disabled_mechanism_and_listener_without_sasl_are_reported() {
    let mechanisms = ["GSSAPI", "OAUTHBEARER"].map(StrBytes::from_static_str).to_vec();
    for (code, want) in [
        (33, "`PLAIN` is not enabled: the broker accepts GSSAPI, OAUTHBEARER"),
        (34, "the listener takes no SASL: set `security.protocol` to plaintext or ssl"),
        (-1, "the broker rejected the SASL handshake with error -1"),
    ] {
        let response =
            SaslHandshakeResponse::default().with_error_code(code).with_mechanisms(mechanisms.clone());
        let broker = Broker::start(move |asked| match &asked.kind {
            RequestKind::SaslHandshake(_) => asked.answer(&response),
            _ => asked.usual(),
        })
        .await;
        let reader = reader(&broker, "PLAIN", &USER);
        check_refused(&reader.read("t", at(0)).await.expect_err("a refusal"), want);
    }
}

#[tokio::test]
async fn token_file_is_read_for_each_authentication() {
    let (broker, messages) = broker(|client| match client {
        "\x01" => refusal("token hunter2 is over".to_owned()),
        client if client.contains("hunter2") => message(r#"{"status":"invalid_token"}"#),
        _ => message(""),
    })
    .await;
    let path = std::env::temp_dir().join(format!("sluicegate-reader-{}-token", std::process::id()));
    std::fs::write(&path, "hunter2\n").expect("a file");
    let file = format!("file://{}", path.display());
    let more = [
        ("sasl.oauthbearer.token.endpoint.url", &*file),
        ("sasl.oauthbearer.extensions", "logicalCluster=lkc-1"),
        // Not left alone after the refusal.
        ("reconnect.backoff.ms", "0"),
        ("reconnect.backoff.max.ms", "0"),
    ];
    let reader = reader(&broker, "OAUTHBEARER", &more);
    let error = reader.read("t", at(0)).await.expect_err("a refusal");
    check_refused(&error, "token … is over (status invalid_token)");
    let first = "n,,\x01auth=Bearer hunter2\x01logicalCluster=lkc-1\x01\x01";
    assert_eq!(messages.lock()[..2], [first, "\x01"]);

    std::fs::write(&path, "renewed").expect("a file");
    assert_eq!(reader.read("t", at(0)).await.expect("an empty answer").next_offset, 0);
    std::fs::remove_file(&path).expect("a file");
}

#[tokio::test]
async fn expired_authentication_is_replaced() {
    let (broker, messages) = broker(|_| message("").with_session_lifetime_ms(100)).await;
    let reader = reader(&broker, "PLAIN", &USER);
    while messages.lock().len() < 5 {
        assert_eq!(reader.list("t", -1).await.expect("an offset"), 0);
    }
}
