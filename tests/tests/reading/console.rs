//! Kafka's own command line tools.

use std::process::Stdio;
use std::time::Duration;

use sluicegate_tests::folder::Folder;
use sluicegate_tests::kafka::{Codec, Kafka};
use sluicegate_tests::tools;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

/// What the console consumer prints of partition 0 from the log start on, one line a record:
/// `CreateTime:TIME<tab>Offset:OFFSET<tab>KEY<tab>VALUE`.
pub(crate) async fn consume(kafka: &Kafka, topic: &str, count: usize) -> String {
    let count = count.to_string();
    // In a file: the options for single properties have other names in Kafka 3.9.
    let properties = "print.timestamp=true\nprint.offset=true\nprint.key=true\n";
    let folder = Folder::new("console").unwrap();
    let formatter = folder.write("formatter.properties", properties).unwrap();
    let args = [
        ["--topic", topic],
        ["--partition", "0"],
        ["--offset", "earliest"],
        ["--max-messages", &count],
        ["--formatter-config", formatter.to_str().unwrap()],
    ]
    .concat();
    run(kafka, "org.apache.kafka.tools.consumer.ConsoleConsumer", &args, "").await
}

/// Has the console producer write `lines`, each `HEADER:VALUE<tab>KEY<tab>VALUE`, where `NULL` is Kafka's null.
pub(crate) async fn produce(kafka: &Kafka, topic: &str, codec: Codec, lines: &str) {
    let properties = "parse.headers=true\nparse.key=true\nnull.marker=NULL\n";
    let folder = Folder::new("console").unwrap();
    let reader = folder.write("reader.properties", properties).unwrap();
    let args =
        ["--topic", topic, "--compression-codec", codec.name(), "--reader-config", reader.to_str().unwrap()];
    let before_4 = tools::kafka_version().is_some_and(|version| version.starts_with("3."));
    let class =
        if before_4 { "kafka.tools.ConsoleProducer" } else { "org.apache.kafka.tools.ConsoleProducer" };
    run(kafka, class, &args, lines).await;
}

async fn run(kafka: &Kafka, class: &str, args: &[&str], input: &str) -> String {
    let mut child = Command::new("java")
        .args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
        .args(["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp"])
        .arg(tools::kafka_lib().unwrap().join("*"))
        .args([class, "--bootstrap-server", &kafka.bootstrap()])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let fed = async {
        // A tool that has refused its arguments says why when it ends.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
    };
    let both = async { tokio::join!(fed, child.wait_with_output()).1.unwrap() };
    let output = timeout(WITHIN, both).await.unwrap_or_else(|_| panic!("{class} did not end within 60 s"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{class}: {}\n{errors}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

const WITHIN: Duration = Duration::from_secs(60);
