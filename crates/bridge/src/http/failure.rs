//! Errors of a messaging system within documents and events.

use serde::Serialize;
use sluicegate_protocol::Reason;

use sluicegate_backend::{CommandError, System};

/// The failure of one record, or of one partition.
#[derive(Serialize)]
pub(super) struct Failure<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    partition: Option<i32>,
    reason: String,
    detail: &'a str,
    #[serde(flatten)]
    details: Details,
    retriable: bool,
}

impl<'a> Failure<'a> {
    pub(super) fn new(error: &'a CommandError, system: System, partition: Option<i32>) -> Self {
        let CommandError { fault, message, .. } = error;
        Self {
            partition,
            reason: name(fault.reason()),
            detail: message,
            details: Details::of(error, system),
            retriable: fault.is_retriable(),
        }
    }
}

/// Members of an error: the system's code, under a name of its own and 0 if it has none, and the ends of the log that
/// an offset is not between.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Details {
    #[serde(skip_serializing_if = "is_default")]
    kafka_code: i32,
    #[serde(skip_serializing_if = "is_default")]
    nats_code: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    earliest_offset: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latest_offset: Option<i64>,
}

impl Details {
    pub(super) fn of(error: &CommandError, system: System) -> Self {
        let code = error.code_for(system);
        let (earliest_offset, latest_offset) = error.ends.unzip();
        let details = Self { earliest_offset, latest_offset, ..Self::default() };
        match system {
            System::Kafka => Self { kafka_code: code, ..details },
            System::Nats => Self { nats_code: code, ..details },
        }
    }
}

/// The name of the protocol, in lower case.
pub(super) fn name(reason: Reason) -> String {
    reason.as_str_name().to_ascii_lowercase()
}

pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests {
    use sluicegate_backend::Fault;

    use super::*;

    #[track_caller]
    fn check(system: System, code: i32, want: &str) {
        let error = CommandError::new(Fault::Rejected, code, "m");
        let document = serde_json::to_string(&Failure::new(&error, system, None)).unwrap();
        assert_eq!(document, format!(r#"{{"reason":"rejected","detail":"m",{want}"retriable":false}}"#));
    }

    #[test]
    fn codes_are_those_of_the_system() {
        check(System::Kafka, 29, r#""kafka_code":29,"#);
        check(System::Kafka, 0, "");
        check(System::Nats, 10109, r#""nats_code":10109,"#);
        // The bridge's own errors have Kafka's codes.
        check(System::Nats, 29, "");
    }

    #[test]
    fn offset_out_of_range_comes_with_the_ends_of_the_log() {
        let error = CommandError { ends: Some((3, 9)), ..CommandError::new(Fault::OffsetOutOfRange, 1, "m") };
        let document = serde_json::to_string(&Failure::new(&error, System::Kafka, Some(0))).unwrap();
        let want = r#"{"partition":0,"reason":"offset_out_of_range","detail":"m","kafka_code":1,"earliest_offset":3,"latest_offset":9,"retriable":false}"#;
        assert_eq!(document, want);
    }
}
