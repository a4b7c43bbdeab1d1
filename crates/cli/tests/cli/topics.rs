//! `sluicegate topics`.

use super::*;

#[tokio::test]
async fn topics_are_listed_in_kcats_formats() {
    let text = " 2 topics:\n  topic \"orders\" with 2 partitions:\n    \
                partition 0, leader 1, replicas: 1,2, isrs: 1\n    partition 1, leader -1, replicas: 2, isrs: \n  \
                topic \"empty\" with 0 partitions:\n";
    topics(&[], &[("", 200, r#"["orders","deleted","empty"]"#), ORDERS, DELETED, EMPTY])
        .await
        .is(0, text, "");
    let one = " 1 topics:\n  topic \"empty\" with 0 partitions:\n";
    topics(&["empty"], &[EMPTY]).await.is(0, one, "");
    let json = "{\"topics\":[{\"topic\":\"orders\",\"partitions\":[\
                {\"partition\":0,\"leader\":1,\"replicas\":[{\"id\":1},{\"id\":2}],\"isrs\":[{\"id\":1}]},\
                {\"partition\":1,\"leader\":-1,\"replicas\":[{\"id\":2}],\"isrs\":[]}]}]}\n";
    topics(&["--json", "orders"], &[ORDERS]).await.is(0, json, "");
}

#[tokio::test]
async fn failure_says_what_the_server_said() {
    topics(&["deleted"], &[DELETED]).await.is(1, "", "sluicegate: no topic \"deleted\"\n");
    let want = "/kafka: failed to read the topics: the server answered HTTP 503: no\u{20}\u{20}[2J bridge\n";
    topics(&["elsewhere"], &[("/elsewhere", 503, "no \u{1b}[2J bridge")]).await.tells(3, "", &[want]);
}

#[tokio::test]
async fn websocket_route_lists_topics_too() {
    let described = |(name, partitions)| {
        let line = |partition: i32| format!("    partition {partition}, leader 1, replicas: , isrs: \n");
        let lines: String = (0..partitions).map(line).collect();
        format!("  topic \"{name}\" with {partitions} partitions:\n{lines}")
    };
    let all = [("orders", 3), ("open", 1), ("bytes", 1)].map(described);
    // The variable of all commands names the gateway, of either kind.
    run(&kafka::serve().await, "topics").await.is(0, &format!(" 3 topics:\n{}", all.concat()), "");
    let rest = run("http://127.0.0.1:1/kafka", "topics").await;
    rest.tells(3, "", &["sluicegate: failed to connect to http://127.0.0.1:1/kafka: "]);
    let asked = async |url: String, topic: &str| run("", &format!("topics -u {url} {topic}")).await;
    asked(kafka::serve().await, "orders").await.is(0, &format!(" 1 topics:\n{}", all[0]), "");
    let missing = "sluicegate: failed to describe topic nothing, err: UNKNOWN_TOPIC_OR_PARTITION\n";
    asked(kafka::serve().await, "nothing").await.is(1, "", missing);
    let unsupported = "sluicegate: failed to run the command metadata: the server does not support it\n";
    asked(kafka::serve_older().await, "orders").await.is(1, "", unsupported);
}

/// Runs `topics` against a `rest` route of which these resources are read, with these answers.
async fn topics(args: &[&str], answers: &[(&str, u16, &str)]) -> Run {
    let all = answers.iter().map(|(_, status, body)| (*status, (*body).to_owned()));
    let (url, heads) = server::http(all.collect()).await;
    let run = finish(&mut command("", &[&["topics", "-u", &format!("{url}/kafka")], args].concat())).await;
    for (head, (path, ..)) in heads.await.unwrap().iter().zip(answers) {
        assert!(head.starts_with(&format!("GET /kafka/topics{path} ")), "{head}");
    }
    run
}

const ORDERS: (&str, u16, &str) = (
    "/orders",
    200,
    r#"{"name":"orders","configs":{},"partitions":[
        {"partition":0,"leader":1,"replicas":[{"broker":1,"leader":true,"in_sync":true},
                                              {"broker":2,"leader":false,"in_sync":false}]},
        {"partition":1,"leader":-1,"replicas":[{"broker":2,"leader":false,"in_sync":false}]}]}"#,
);
const EMPTY: (&str, u16, &str) = ("/empty", 200, r#"{"partitions":[]}"#);
const DELETED: (&str, u16, &str) = ("/deleted", 404, r#"{"detail":"no topic \"deleted\"","kafka_code":3}"#);
