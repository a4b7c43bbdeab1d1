//! Writing: real bridge, real Kafka, and a real Envoy where it has a part.
//!
//! [`sluicegate_stack::socket`] is the client. [`told`] writes, and knows what it was told.

mod records;
mod repeated;
pub(crate) mod told;

use std::time::Duration;

use bytes::Bytes;
use sluicegate_protocol::{ErrorResp, ProduceRecord, Produced};
use sluicegate_stack::stack::Stack;
use sluicegate_stack::waiting;

use crate::pool::{count, reaches};

/// A record for partition 0, without a key.
pub(crate) fn record(topic: &str, value: impl Into<Bytes>) -> ProduceRecord {
    let (topic, value) = (topic.to_owned(), Some(value.into()));
    ProduceRecord { topic, partition: Some(0), value, ..ProduceRecord::default() }
}

/// The offset of a record that was acknowledged.
#[track_caller]
pub(crate) fn offset(produced: &Produced) -> i64 {
    assert_eq!(produced.error, None);
    produced.offset
}

/// The error of a record that was not.
#[track_caller]
pub(crate) fn error(produced: &Produced) -> &ErrorResp {
    produced.error.as_ref().unwrap_or_else(|| panic!("{produced:?} instead of an error"))
}

/// Waits until the bridge's count of this name is `want`.
pub(crate) async fn becomes(stack: &Stack, name: &str, want: f64) {
    waiting::becomes(name, want, Duration::from_secs(60), async || count(stack, name).await).await;
}

/// Waits until the bridge's count of this name is `more` than it is.
pub(crate) async fn grows(stack: &Stack, name: &str, more: f64) {
    reaches(stack, name, count(stack, name).await + more).await;
}
