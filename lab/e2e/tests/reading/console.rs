//! Kafka's own command line tools.

use sluicegate_stack::folder::Folder;
use sluicegate_stack::kafka::{CONSOLE_CONSUMER, Kafka};

/// Output of the console consumer for partition 0 from the log start on, one line a record:
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

async fn run(kafka: &Kafka, class: &'static str, args: &[&str], input: &str) -> String {
    String::from_utf8(kafka.console(class, args, input.as_bytes()).await.unwrap()).unwrap()
}
