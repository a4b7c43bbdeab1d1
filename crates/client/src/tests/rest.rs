//! Topics over HTTP.

use super::server::head;
use super::*;
use crate::{Rest, RestError};

#[tokio::test]
async fn topics_and_partitions_share_a_connection() {
    let (mut rest, heads) = serve(vec![
        answer(200, r#"["orders","a b"]"#),
        answer(
            200,
            r#"{"name":"a b","configs":{},"partitions":[
                {"partition":0,"leader":2,"replicas":[{"broker":1,"leader":false,"in_sync":false},
                                                      {"broker":2,"leader":true,"in_sync":true}]},
                {"partition":1,"leader":-1,"replicas":[]}]}"#,
        ),
    ])
    .await;
    assert_eq!(rest.topics().await.unwrap(), ["orders", "a b"]);
    let partitions = rest.partitions("a b").await.unwrap();
    let leaders: Vec<_> = partitions.iter().map(|p| (p.partition, p.leader)).collect();
    assert_eq!(leaders, [(0, Some(2)), (1, None)]);
    let replicas: Vec<_> = partitions[0].replicas.iter().map(|r| (r.broker, r.in_sync)).collect();
    assert_eq!(replicas, [(1, false), (2, true)]);
    let heads = heads.await.unwrap();
    assert!(heads[0].starts_with("GET /kafka/topics?t=1 HTTP/1.1\r\n"), "{}", heads[0]);
    assert!(heads[1].starts_with("GET /kafka/topics/a%20b?t=1 HTTP/1.1\r\n"), "{}", heads[1]);
    for head in heads {
        let head = head.to_lowercase();
        assert!(head.contains("\r\nhost: 127.0.0.1:") && head.contains("\r\nx-token: s3\r\n"), "{head}");
    }
}

#[tokio::test]
async fn closed_connection_is_replaced() {
    let closing = answer(200, "[]").replacen("\r\n", "\r\nconnection: close\r\n", 1);
    let (mut rest, heads) = serve(vec![closing.clone(), closing]).await;
    for _ in 0..2 {
        assert!(rest.topics().await.unwrap().is_empty());
    }
    assert_eq!(heads.await.unwrap().len(), 2);
}

#[tokio::test]
async fn problems_refusals_and_invalid_answers_differ() {
    let problem =
        r#"{"type":"about:blank","status":404,"detail":"no topic","kafka_code":3,"trace_id":"4bf9"}"#;
    let (mut rest, _) = serve(vec![
        answer(404, problem),
        answer(503, "no healthy upstream"),
        answer(200, "<html>"),
        answer(200, &format!("[\"{}\"]", "x".repeat(2000))),
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n[".to_owned(),
        "HTTP/1.1 100 Continue\r\n\r\n".repeat(20_000) + &answer(200, "[]"),
    ])
    .await;
    match rest.partitions("t").await {
        Err(RestError::Problem { status: 404, code: 3, message, trace_id }) => {
            assert_eq!((&*message, &*trace_id), ("no topic", "4bf9"));
        }
        other => panic!("{other:?}"),
    }
    match rest.topics().await {
        Err(RestError::Refused { status: 503, body }) => assert_eq!(body, "no healthy upstream"),
        other => panic!("{other:?}"),
    }
    // Not a list of topics, longer than accepted, cut.
    for _ in 0..3 {
        let failed = rest.topics().await;
        assert!(matches!(failed, Err(RestError::Protocol { .. })), "{failed:?}");
    }
    let endless = rest.topics().await;
    assert!(matches!(endless, Err(RestError::Lost { .. })), "{endless:?}");
}

#[tokio::test]
async fn url_of_another_kind_is_rejected() {
    for url in ["", "ws://g/", "g:80/kafka", "http://", "http://u:p@g/"] {
        match Client::builder(url).rest() {
            Err(ConnectError::Url { url, .. }) => assert!(!url.contains("u:p"), "{url}"),
            other => panic!("{url:?}: {other:?}"),
        }
    }
}

fn answer(status: u16, body: &str) -> String {
    format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// A client of a server that gives these answers, and the heads of its requests.
async fn serve(answers: Vec<String>) -> (Rest, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/kafka/?t=1", listener.local_addr().unwrap());
    let heads = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut heads = Vec::new();
        for answer in answers {
            heads.push(match head(&mut stream).await {
                Some(head) => head,
                // One side gave the connection up.
                None => {
                    stream = listener.accept().await.unwrap().0;
                    head(&mut stream).await.unwrap()
                }
            });
            // A client does not read what exceeds its limit.
            let _ = stream.write_all(answer.as_bytes()).await;
            if answer.contains("connection: close") || answer.ends_with('[') {
                stream.shutdown().await.unwrap();
            }
        }
        heads
    });
    let rest = Client::builder(url).header("X-Token", "s3").max_message_bytes(1000).rest().unwrap();
    (rest, heads)
}
