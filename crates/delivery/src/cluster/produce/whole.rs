//! Commands whose records are written all or none, because they have a producer; and those that write nothing.

use sluicegate_backend::command::Record;
use sluicegate_backend::{CommandError, DeliveryReport, Fault, Written};
use sluicegate_protocol::error_code::INVALID_REQUEST;

/// Checks that placed records of a producer belong to one log.
///
/// # Errors
/// Some belong to another one.
pub(super) fn check(
    records: &[Record],
    errors: Vec<Option<CommandError>>,
) -> Result<Vec<Option<CommandError>>, CommandError> {
    let mut placed = (0_usize..).zip(records.iter().zip(&errors)).filter(|(_, (_, error))| error.is_none());
    let Some((at, (first, _))) = placed.next() else { return Ok(errors) };
    let of = |record: &Record| (record.partition.unwrap_or_default(), record.topic.clone());
    let Some((number, (other, _))) = placed.find(|(_, (record, _))| of(record) != of(first)) else {
        return Ok(errors);
    };
    let [(one, topic), (another, other_topic)] = [of(first), of(other)];
    let message = format!(
        "record {at} belongs to partition {one} of {topic}, record {number} to partition {another} of \
         {other_topic}: expected one partition for all records of a command with a producer"
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
