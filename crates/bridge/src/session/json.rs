//! The codec of sessions in JSON.
//!
//! 1. [`request`]: a client's text becomes a request, in the words of its system's [`dialect`](sluicegate_dialect)
//! 2. [`records`]: records that were read become the text of an answer
//! 3. [`answer`]: answers that are the same on all systems become text

mod answer;
mod records;
mod request;

pub(super) use sluicegate_dialect::json_sessions::error::MAX_RESULT_BYTES;
pub(super) use sluicegate_dialect::json_sessions::subscribe::{MAX_BATCH_BYTES, MAX_BATCH_RECORDS};

pub(super) use self::answer::{encode, metadata, topic};
pub(super) use self::records::{delivered, fetched, max_delivery_bytes, multi_fetched};
pub(crate) use self::request::parse;
