//! Record batches of Kafka.

pub(super) use crate::records_invariants::check_input as records;
