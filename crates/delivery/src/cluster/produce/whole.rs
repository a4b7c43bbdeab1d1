//! Commands whose records are written all or none, because they have a producer; and those that write nothing.

use sluicegate_backend::command::Record;
use sluicegate_backend::{CommandError, DeliveryReport, Fault, System, Written};
use sluicegate_protocol::error_code::INVALID_REQUEST;

use crate::cluster::escape_for_message;

/// Checks that placed records of a producer belong to one log, or to one subject where topics have no partitions.
///
/// # Errors
/// Some belong to another one.
pub(super) fn check(
    system: System,
    records: &[Record],
    errors: Vec<Option<CommandError>>,
) -> Result<Vec<Option<CommandError>>, CommandError> {
    let mut placed = (0_usize..).zip(records.iter().zip(&errors)).filter(|(_, (_, error))| error.is_none());
    let Some((at, (first, _))) = placed.next() else { return Ok(errors) };
    let of = |record: &Record| {
        let subject = if system.has_partitions { None } else { record.key.clone() };
        (record.partition.unwrap_or_default(), record.topic.clone(), subject)
    };
    let Some((number, (other, _))) = placed.find(|(_, (record, _))| of(record) != of(first)) else {
        return Ok(errors);
    };
    let part = if system.has_partitions { "partition" } else { "subject" };
    let [one, another] = [first, other].map(|record| {
        let (partition, topic, subject) = of(record);
        let name = subject.map(|subject| escape_for_message(&String::from_utf8_lossy(&subject)));
        format!("{part} {} of {topic}", name.unwrap_or_else(|| partition.to_string()))
    });
    let message = format!(
        "record {at} belongs to {one}, record {number} to {another}: expected one {part} for all records of a command with \
         a producer"
    );
    Err(CommandError::new(Fault::Invalid, INVALID_REQUEST, message))
}

/// The reports of records that were not written because some of them were refused.
pub(super) fn refused(errors: Vec<Option<CommandError>>) -> Vec<DeliveryReport> {
    errors.into_iter().map(|error| Err(error.unwrap_or_else(CommandError::beside_refused))).collect()
}

/// The reports of records that are not to be written.
pub(super) fn placed(records: &[Record], errors: Vec<Option<CommandError>>) -> Vec<DeliveryReport> {
    let place = |record: &Record| Written {
        partition: record.partition.unwrap_or_default(),
        offset: -1,
        timestamp: -1,
        ..Written::default()
    };
    let report =
        |(record, error): (&Record, Option<CommandError>)| error.map_or_else(|| Ok(place(record)), Err);
    records.iter().zip(errors).map(report).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_a_producer_have_one_place() {
        let record = |topic: &str, partition, key: &'static str| {
            let (topic, partition, key) = (topic.to_owned(), Some(partition), Some(key.into()));
            Record { topic, partition, key, ..Record::default() }
        };
        for (system, other, is_one) in [
            (System::Kafka, record("t", 0, "b"), true),
            (System::Kafka, record("t", 1, "a"), false),
            (System::Nats, record("t", 0, "a"), true),
            (System::Nats, record("t", 0, "b"), false),
            (System::Nats, record("u", 0, "a"), false),
        ] {
            let checked = check(system, &[record("t", 0, "a"), other.clone()], vec![None; 2]);
            assert_eq!(checked.is_ok(), is_one, "{system:?} {other:?}");
        }
    }
}
