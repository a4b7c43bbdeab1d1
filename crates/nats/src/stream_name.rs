//! Validated names of streams.

use std::fmt;

use sluicegate_backend::Log;

use super::error::ReadError;

/// A stream's name that is one token of a subject. No other text gets into the subject of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StreamName<'a>(&'a str);

impl<'a> StreamName<'a> {
    pub(super) fn parse(name: &'a str) -> Result<Self, ReadError> {
        match problem(name) {
            None => Ok(Self(name)),
            Some(problem) => Err(ReadError::Invalid(format!(
                "{problem}: expected 1 to {MAX_NAME} bytes without spaces, control characters and . * > / \\"
            ))),
        }
    }

    /// The stream of a log, which is its partition 0.
    pub(super) fn of(log: Log<'a>) -> Result<Self, ReadError> {
        let name = Self::parse(log.topic)?;
        if log.partition == 0 { Ok(name) } else { Err(ReadError::NoPartition(log.partition)) }
    }

    pub(super) fn as_str(self) -> &'a str {
        self.0
    }
}

impl fmt::Display for StreamName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// The rules of nats-server, and no control characters.
fn problem(name: &str) -> Option<String> {
    let is_illegal =
        |c: char| c.is_whitespace() || c.is_control() || matches!(c, '.' | '*' | '>' | '/' | '\\');
    match name {
        "" => Some("empty stream name".to_owned()),
        _ if name.len() > MAX_NAME => Some(format!("stream name of {} bytes", name.len())),
        _ if name.contains(is_illegal) => Some("stream name with invalid characters".to_owned()),
        _ => None,
    }
}

const MAX_NAME: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_streams_are_accepted() {
        for name in
            ["a", "ORDERS", "KV_config", "orders-v1_2", "$MQTT_msgs", "Bestellungen-für-ä", &"x".repeat(255)]
        {
            assert_eq!(StreamName::parse(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn names_that_could_change_a_subject_are_rejected() {
        for name in ["", "a.b", "a.>", "*", ">", "a b", "a\t", "a\0", "a/b", "a\\b"].into_iter().chain([
            "a\r\nPUB x 1",
            "a\u{a0}b",
            &"x".repeat(256),
        ]) {
            assert!(matches!(StreamName::parse(name), Err(ReadError::Invalid(_))), "{name:?}");
        }
    }

    #[test]
    fn stream_has_one_partition() {
        assert!(StreamName::of(Log { topic: "a", partition: 0 }).is_ok());
        for partition in [-1, 1, i32::MAX] {
            let error = StreamName::of(Log { topic: "a", partition }).unwrap_err();
            assert!(matches!(error, ReadError::NoPartition(number) if number == partition));
        }
    }
}
