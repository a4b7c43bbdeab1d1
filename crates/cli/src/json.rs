//! Messages and offsets as JSON lines.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use sluicegate_client::KafkaMessage;

/// Appends `message` as one line to `out`.
pub(crate) fn message(topic: &str, partition: i32, message: &KafkaMessage, out: &mut Vec<u8>) {
    #[derive(serde::Serialize)]
    struct Line<'a> {
        topic: &'a str,
        partition: i32,
        offset: i64,
        timestamp: i64,
        key: Payload<'a>,
        value: Payload<'a>,
    }
    let KafkaMessage { offset, timestamp, key, value } = message;
    let (offset, timestamp, key, value) = (*offset, *timestamp, Payload(key), Payload(value));
    line(&Line { topic, partition, offset, timestamp, key, value }, out);
}

/// Appends an offset of a partition as one line to `out`.
pub(crate) fn offset(topic: &str, partition: i32, offset: i64, out: &mut Vec<u8>) {
    #[derive(serde::Serialize)]
    struct Line<'a> {
        topic: &'a str,
        partition: i32,
        offset: i64,
    }
    line(&Line { topic, partition, offset }, out);
}

fn line(line: &impl Serialize, out: &mut Vec<u8>) {
    // Neither strings nor numbers can fail to be JSON, and writing to a `Vec` does not fail.
    let _ = serde_json::to_writer(&mut *out, line);
    out.push(b'\n');
}

/// A string where it is UTF-8, otherwise an object, so that a reader can tell them apart.
struct Payload<'a>(&'a [u8]);

impl Serialize for Payload<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => {
                let mut object = serializer.serialize_map(Some(1))?;
                object.serialize_entry("base64", &STANDARD.encode(self.0))?;
                object.end()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_in_a_fixed_order() {
        let sent = KafkaMessage {
            offset: 7,
            timestamp: 1_700_000_000_000,
            key: (&[0xFF, 0x00][..]).into(),
            value: "a\n\"b\" é".into(),
        };
        let mut out = Vec::new();
        message("orders", 3, &sent, &mut out);
        let want = r#"{"topic":"orders","partition":3,"offset":7,"timestamp":1700000000000,"key":{"base64":"/wA="},"value":"a\n\"b\" é"}"#;
        assert_eq!(String::from_utf8(out).unwrap(), format!("{want}\n"));
    }
}
