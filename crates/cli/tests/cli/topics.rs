//! `sluicegate topics`.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::program::{Run, command, finish, run};
use crate::{kafka, server};

#[tokio::test]
async fn topics_are_listed_in_kcats_formats() {
    let text = " 2 topics:\n  topic \"orders\" with 2 partitions:\n    \
                partition 0, leader 1, replicas: 1,2, isrs: 1\n    partition 1, leader -1, replicas: 2, isrs: \n  \
                topic \"empty\" with 0 partitions:\n";
    topics(&[]).await.is(0, text, "");
    let one = " 1 topics:\n  topic \"empty\" with 0 partitions:\n";
    topics(&["empty"]).await.is(0, one, "");
    let json = "{\"topics\":[{\"topic\":\"orders\",\"partitions\":[\
                {\"partition\":0,\"leader\":1,\"replicas\":[{\"id\":1},{\"id\":2}],\"isrs\":[{\"id\":1}]},\
                {\"partition\":1,\"leader\":-1,\"replicas\":[{\"id\":2}],\"isrs\":[]}]}]}\n";
    topics(&["--json", "orders"]).await.is(0, json, "");
}

#[tokio::test]
async fn failure_says_what_the_server_said() {
    topics(&["deleted"]).await.is(1, "", "sluicegate: no topic \"deleted\"\n");
    let want = "/kafka: failed to read the topics: the server answered HTTP 503: no\u{20}\u{20}[2J bridge\n";
    topics(&["elsewhere"]).await.tells(3, "", &[want]);
}

#[tokio::test]
async fn websocket_route_lists_topics_too() {
    let described = async |url: String, topic: &str| run("", &format!("topics -u {url} {topic}")).await;
    let partition = |partition: i32| format!("    partition {partition}, leader 1, replicas: , isrs: \n");
    let partitions: String = (0..3).map(partition).collect();
    let want = format!(" 1 topics:\n  topic \"orders\" with 3 partitions:\n{partitions}");
    described(kafka::serve().await, "orders").await.is(0, &want, "");
    for (url, topic, failed) in [
        (kafka::serve().await, "nothing", "describe topic nothing, err: UNKNOWN_TOPIC_OR_PARTITION"),
        (kafka::serve_older().await, "orders", "run the command metadata: the server does not support it"),
    ] {
        described(url, topic).await.is(1, "", &format!("sluicegate: failed to {failed}\n"));
    }
}

#[tokio::test]
async fn variable_of_all_commands_names_the_gateway() {
    let listed = run(&kafka::serve().await, "topics").await;
    assert_eq!((listed.code, &*listed.stderr), (Some(0), ""), "{listed:?}");
    let names: Vec<&str> = listed.stdout.lines().filter(|line| line.starts_with("  topic")).collect();
    let want = ["orders\" with 3 partitions:", "open\" with 1 partitions:", "bytes\" with 1 partitions:"];
    assert_eq!(names, want.map(|topic| format!("  topic \"{topic}")));

    let rest = run("http://127.0.0.1:1/kafka", "topics").await;
    rest.tells(3, "", &["sluicegate: failed to connect to http://127.0.0.1:1/kafka: "]);
}

/// Runs `topics` against a `rest` route of three topics, one of which is deleted when it is asked for.
async fn topics(args: &[&str]) -> Run {
    let (listener, url) = server::listener().await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        loop {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let Ok(byte) = stream.read_u8().await else { return };
                head.push(byte);
            }
            let head = String::from_utf8(head).unwrap();
            let path = head.split(' ').nth(1).unwrap();
            let (status, body) = match path {
                "/kafka/topics" => (200, r#"["orders","deleted","empty"]"#),
                "/kafka/topics/orders" => (
                    200,
                    r#"{"name":"orders","configs":{},"partitions":[
                        {"partition":0,"leader":1,"replicas":[{"broker":1,"leader":true,"in_sync":true},
                                                              {"broker":2,"leader":false,"in_sync":false}]},
                        {"partition":1,"leader":-1,"replicas":[{"broker":2,"leader":false,"in_sync":false}]}]}"#,
                ),
                "/kafka/topics/empty" => (200, r#"{"partitions":[]}"#),
                "/kafka/topics/deleted" => (404, r#"{"detail":"no topic \"deleted\"","kafka_code":3}"#),
                _ => (503, "no \u{1b}[2J bridge"),
            };
            let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let url = url.replace("ws:", "http:").replace("/pubsub", "/kafka");
    finish(&mut command("", &[&["topics", "-u", &url], args].concat())).await
}
