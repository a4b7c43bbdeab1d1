//! Errors of a messaging system within documents and events.

use serde::Serialize;

use super::problem::{is_default, name};
use crate::backend::{CommandError, System};

/// The failure of one record, or of one partition.
#[derive(Serialize)]
pub(super) struct Failure<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    partition: Option<i32>,
    reason: String,
    detail: &'a str,
    #[serde(flatten)]
    codes: Codes,
    retriable: bool,
}

impl<'a> Failure<'a> {
    pub(super) fn new(error: &'a CommandError, system: System, partition: Option<i32>) -> Self {
        let CommandError { fault, message, .. } = error;
        Self {
            partition,
            reason: name(fault.reason()),
            detail: message,
            codes: Codes::of(error, system),
            retriable: fault.is_retriable(),
        }
    }
}

/// The system's code for an error, under a name of its own. Both are 0 if it has none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Codes {
    #[serde(skip_serializing_if = "is_default")]
    kafka_code: i32,
    #[serde(skip_serializing_if = "is_default")]
    nats_code: i32,
}

impl Codes {
    pub(super) fn of(error: &CommandError, system: System) -> Self {
        let code = error.code_for(system);
        match system {
            System::Kafka => Self { kafka_code: code, nats_code: 0 },
            System::Nats => Self { kafka_code: 0, nats_code: code },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Fault;

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
}
