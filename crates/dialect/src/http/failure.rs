//! Errors of a messaging system within documents and events.

use serde::{Serialize, Serializer};
use sluicegate_backend::{CommandError, ProducerState, System};
use sluicegate_protocol::Reason;

use crate as dialect;

/// The failure of one record, or of one partition.
#[derive(Serialize)]
pub struct Failure<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    partition: Option<i32>,
    reason: String,
    detail: &'a str,
    #[serde(flatten)]
    details: Details,
    retriable: bool,
}

impl<'a> Failure<'a> {
    /// The failure of a record, or of a read of `partition`.
    pub fn new(error: &'a CommandError, system: System, partition: Option<i32>) -> Self {
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

/// Members of an error: the system's code, if it has one, and the ends of the log that an offset is not between, or the
/// producer as its log has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Details {
    /// The name of the member, and the code.
    code: Option<(&'static str, i32)>,
    known: Option<Known>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Ends(i64, i64),
    Producer(ProducerState),
}

impl Details {
    /// The members that tell the kind of the error.
    pub fn of(error: &CommandError, system: System) -> Self {
        let code = error.code_for(system);
        let ends = error.ends.map(|(earliest, latest)| Known::Ends(earliest, latest));
        let known = ends.or_else(|| error.producer.as_deref().copied().map(Known::Producer));
        Self { code: (code != 0).then(|| (dialect::of(system).words().code, code)), known }
    }

    /// The producer as its log has it.
    pub fn producer(self) -> Option<ProducerState> {
        match self.known {
            Some(Known::Producer(state)) => Some(state),
            Some(Known::Ends(..)) | None => None,
        }
    }
}

impl Serialize for Details {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let code = self.code.map(|(name, code)| (name, i64::from(code)));
        let known = self.known.map(|known| match known {
            Known::Ends(earliest, latest) => [("earliest_offset", earliest), ("latest_offset", latest)],
            Known::Producer(ProducerState { epoch, sequence }) => {
                [("producer_epoch", epoch.into()), ("expected_sequence", sequence.into())]
            }
        });
        serializer.collect_map(code.into_iter().chain(known.into_iter().flatten()))
    }
}

/// The name of the protocol, in lower case.
pub fn name(reason: Reason) -> String {
    reason.as_str_name().to_ascii_lowercase()
}

/// Whether a member has the value that is left out.
pub fn is_default<T: Default + PartialEq>(value: &T) -> bool {
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
