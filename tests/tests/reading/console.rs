//! Kafka's own command line tools.

use std::process::Stdio;
use std::time::Duration;

use sluicegate_tests::kafka::{Codec, Kafka};
use sluicegate_tests::tools;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

/// What the console consumer prints of partition 0 from the log start on, one line a record:
/// `CreateTime:TIME<tab>Offset:OFFSET<tab>KEY<tab>VALUE`.
pub(crate) async fn consume(kafka: &Kafka, topic: &str, count: usize) -> String {
    let count = count.to_string();
    let mut args =
        vec!["--topic", topic, "--partition", "0", "--offset", "earliest", "--max-messages", &count];
    for property in ["print.timestamp=true", "print.offset=true", "print.key=true"] {
        args.extend(["--formatter-property", property]);
    }
    run(kafka, "org.apache.kafka.tools.consumer.ConsoleConsumer", &args, "").await
}

/// Has the console producer write `lines`, each `HEADER:VALUE<tab>KEY<tab>VALUE`, where `NULL` is Kafka's null.
pub(crate) async fn produce(kafka: &Kafka, topic: &str, codec: Codec, lines: &str) {
    let mut args = vec!["--topic", topic, "--compression-codec", codec.name()];
    for property in ["parse.headers=true", "parse.key=true", "null.marker=NULL"] {
        args.extend(["--reader-property", property]);
    }
    run(kafka, "org.apache.kafka.tools.ConsoleProducer", &args, lines).await;
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
        stdin.write_all(input.as_bytes()).await.unwrap();
        drop(stdin);
    };
    let both = async { tokio::join!(fed, child.wait_with_output()).1.unwrap() };
    let output = timeout(WITHIN, both).await.unwrap_or_else(|_| panic!("{class} did not end within 60 s"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{class}: {}\n{errors}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

const WITHIN: Duration = Duration::from_secs(60);
