//! Kafka's own command line tools.

use sluicegate_tests::folder::Folder;
use sluicegate_tests::kafka::{CONSOLE_CONSUMER, Codec, Kafka};
use sluicegate_tests::tools;

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
    run(kafka, CONSOLE_CONSUMER, &args, "").await
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

async fn run(kafka: &Kafka, class: &'static str, args: &[&str], input: &str) -> String {
    String::from_utf8(kafka.console(class, args, input.as_bytes()).await.unwrap()).unwrap()
}
