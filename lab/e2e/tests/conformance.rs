//! The conformance suite of Durable Streams, in Node. `lab/e2e/streams/left-out.json` has the cases that cannot be served.
//! Tests begin in the order of their names: this one takes long, and is not in `streams` so that it does not begin last.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use sluicegate_stack::folder::Folder;
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::nats::{Nats, Streams};
use sluicegate_stack::process::Process;
use sluicegate_stack::tools;
use sluicegate_stack::way::Way;

use crate::pool::Config;

/// A route for each content type of the suite.
const ROUTES: [(&str, &str); 5] = [
    ("/text", "text/plain"),
    ("/bytes", "application/octet-stream"),
    ("/json", "application/json"),
    ("/png", "image/png"),
    ("/protobuf", "application/x-protobuf"),
];
/// The suite creates about 450 streams: some of its cases are random.
const TOPICS: usize = 6;
/// So that cases that run at a time have streams of their own.
const STREAMS: usize = 100;
/// A busy Kafka takes seconds for so many.
const PARTITIONS: i32 = 100;

#[tokio::test]
async fn suite_passes() {
    let kafka = Kafka::shared().await.unwrap();
    let mut topics = Vec::new();
    for _ in 0..TOPICS {
        topics.push(kafka.topic("conformance", PARTITIONS, &[]).await.unwrap());
    }
    passes("default", json!({"topics": topics, "partitions": PARTITIONS}), 194).await;
}

/// Streams are subjects, whose offsets are those of the whole stream.
#[tokio::test]
#[ignore = "takes half a minute: ./dev streams"]
async fn suite_passes_on_nats() {
    let names: Vec<String> = (0..STREAMS).map(|number| format!("conformance-{number}")).collect();
    for name in &names {
        Streams::shared().await.unwrap().create(name, json!({})).await.unwrap();
    }
    passes("nats", json!({"topics": names, "partitions": 0, "subjects": true}), 207).await;
}

/// Runs the suite on a cluster, of which so many cases pass.
async fn passes(cluster: &str, mut streams: Value, count: usize) {
    let routes = ROUTES.map(|(path, content_type)| {
        json!({"path": path, "type": "streams", "write": true, "content_type": content_type, "origins": ["*"],
               "cluster": cluster})
    });
    // One case uploads 10 MiB. On a busy machine it reads the early answer later than after half a second.
    let patient = ("delayed_close_timeout: 0.5s".to_owned(), "delayed_close_timeout: 20s".to_owned());
    let config = Config::new(Way::Tunnel).await.with_nats(Nats::shared().await.unwrap()).edit(patient);
    let stack = config.writing(&["default", "nats"]).routes(routes).own().await;
    streams["gateway"] = stack.gateway().to_string().into();
    streams["routes"] = ROUTES.iter().map(|&(path, content_type)| (content_type, path)).collect();

    let folder = Folder::new("conformance").unwrap();
    let report = folder.path().join("report.json");
    let mut vitest = Command::new(tools::node().unwrap());
    vitest.arg("../../../node_modules/vitest/vitest.mjs").args(["run", "--reporter=json"]);
    vitest.arg("--outputFile").arg(&report).current_dir(tools::workspace().join("lab/e2e/streams"));
    vitest.env("STREAMS", streams.to_string()).env("TMPDIR", folder.path());
    let mut process = Process::spawn("vitest", vitest, &folder.path().join("vitest.log")).unwrap();
    process.wait(WITHIN).await.unwrap();

    let report: Value = serde_json::from_slice(&fs::read(report).unwrap()).unwrap();
    let cases: Vec<&Value> =
        list(&report["testResults"]).flat_map(|file| list(&file["assertionResults"])).collect();
    let with = |status| -> BTreeSet<String> {
        cases.iter().filter(|case| case["status"] == status).map(|case| name(case)).collect()
    };
    let failed = cases.iter().filter(|case| case["status"] == "failed");
    let failed: Vec<_> = failed.map(|case| (name(case), &case["failureMessages"])).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    // A newer suite can have other cases, or other names for them.
    assert_eq!(with("skipped"), left_out(if cluster == "nats" { "nats" } else { "kafka" }));
    assert_eq!(with("passed").len(), count);
}

/// The names of the cases in the table that are not for `system`, each of which has a reason.
fn left_out(system: &str) -> BTreeSet<String> {
    let table = tools::workspace().join("lab/e2e/streams/left-out.json");
    let groups: Value = serde_json::from_slice(&fs::read(table).unwrap()).unwrap();
    let names = |group: &Value| -> Vec<String> {
        assert!(group["reason"].as_str().unwrap().ends_with('.'), "{group}");
        list(&group["cases"]).map(|name| name.as_str().unwrap().to_owned()).collect()
    };
    let is_here = |group: &&Value| group["system"].as_str().is_none_or(|only| only == system);
    list(&groups).filter(is_here).flat_map(names).collect()
}

/// The full name of a case.
fn name(case: &Value) -> String {
    let titles = list(&case["ancestorTitles"]).chain([&case["title"]]);
    titles.map(|title| title.as_str().unwrap()).collect::<Vec<_>>().join(" > ")
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().unwrap().iter()
}

const WITHIN: Duration = Duration::from_secs(180);
