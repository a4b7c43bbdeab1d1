//! The contents of a topic, as printed by Kafka's console consumer.

use std::collections::BTreeMap;

use sluicegate_stack::folder::Folder;
use sluicegate_stack::kafka::{CONSOLE_CONSUMER, Kafka};

/// A record as it was printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Printed {
    pub(crate) timestamp: i64,
    /// `NAME:VALUE`, in their order.
    pub(crate) headers: Vec<String>,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
}

/// All that is in the topic, by partition and offset.
pub(crate) async fn consume(kafka: &Kafka, topic: &str, partitions: i32) -> BTreeMap<(i32, i64), Printed> {
    let count: i64 = (0..partitions).map(|partition| kafka.watermarks(topic, partition).unwrap().1).sum();
    if count == 0 {
        return BTreeMap::new();
    }
    let properties = format!(
        "print.timestamp=true\nprint.partition=true\nprint.offset=true\nprint.headers=true\nprint.key=true\n\
         key.separator={BETWEEN}\nheaders.separator={BETWEEN_HEADERS}\nline.separator={END}\nnull.literal={NULL}\n"
    );
    let folder = Folder::new("console").unwrap();
    let formatter = folder.write("formatter.properties", &properties).unwrap();
    let max = count.to_string();
    let args = ["--topic", topic, "--from-beginning", "--max-messages", &max, "--formatter-config"];
    let args = [&args[..], &[formatter.to_str().unwrap()]].concat();
    let printed = kafka.console(CONSOLE_CONSUMER, &args, b"").await.unwrap();
    let records: BTreeMap<_, _> = split(&printed, END).filter(|line| !line.is_empty()).map(record).collect();
    assert_eq!(i64::try_from(records.len()), Ok(count), "{topic}");
    records
}

fn record(line: &[u8]) -> ((i32, i64), Printed) {
    let fields: Vec<&[u8]> = split(line, BETWEEN).collect();
    let [timestamp, partition, offset, headers, key, value] = fields[..] else {
        panic!("{:?}", String::from_utf8_lossy(line))
    };
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let number = |bytes: &[u8], name: &str| text(bytes).strip_prefix(name).unwrap().parse::<i64>().unwrap();
    let field = |bytes: &[u8]| (bytes != NULL.as_bytes()).then(|| bytes.to_vec());
    let headers = match headers {
        b"NO_HEADERS" => Vec::new(),
        headers => split(headers, BETWEEN_HEADERS).map(text).collect(),
    };
    let timestamp = number(timestamp, "CreateTime:");
    let printed = Printed { timestamp, headers, key: field(key), value: field(value) };
    let partition = i32::try_from(number(partition, "Partition:")).unwrap();
    ((partition, number(offset, "Offset:")), printed)
}

fn split<'a>(bytes: &'a [u8], separator: &'a str) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = Some(bytes);
    std::iter::from_fn(move || {
        let bytes = rest?;
        match bytes.windows(separator.len()).position(|window| window == separator.as_bytes()) {
            Some(at) => {
                rest = Some(&bytes[at + separator.len()..]);
                Some(&bytes[..at])
            }
            None => rest.take(),
        }
    })
}

/// Texts that no record of these tests holds.
const BETWEEN: &str = "<|>";
const BETWEEN_HEADERS: &str = "<&>";
const END: &str = "<end>";
const NULL: &str = "<null>";
