//! Texts of answers.

use std::io::Write as _;

use bytes::Bytes;
use serde::Serialize;
use sluicegate_backend::{CommandError, System};
use sluicegate_protocol::ErrorResp;

use super::error::Error;
use crate::error::{MAX_RECORD_ERROR_BYTES, error_resp};

/// The text of an answer.
pub fn text(id: i64, body: &impl Serialize) -> Bytes {
    // Cannot fail: all names are strings or numbers.
    shrunk(serde_json::to_vec(&Answer { id, body }).unwrap_or_default())
}

/// The text of an answer with the results of many records or logs, on a cluster of `system`.
pub fn results<T: Serialize>(
    id: i64,
    system: System,
    results: impl Iterator<Item = Result<T, CommandError>>,
) -> Bytes {
    let bounded = |error| error_resp(error, system, MAX_RECORD_ERROR_BYTES);
    let results: Vec<Result<T, ErrorResp>> = results.map(|result| result.map_err(bounded)).collect();
    let outcomes = results.iter().map(|result| match result {
        Ok(done) => Outcome::Done(done),
        Err(error) => Outcome::Failed { error: Error::of_result(error) },
    });
    text(id, &Results { results: outcomes.collect() })
}

/// Appends an end of the log, if it is known.
pub(crate) fn put_end(text: &mut Vec<u8>, name: &str, offset: i64) {
    if offset >= 0 {
        // Cannot fail: a `Vec` accepts all writes.
        let _ = write!(text, ",\"{name}\":{offset}");
    }
}

/// Gives back the memory that a `Vec` has for its growth: it is not reserved.
pub fn shrunk(mut text: Vec<u8>) -> Bytes {
    text.shrink_to_fit();
    text.into()
}

/// The result of one record or partition.
#[derive(Serialize)]
#[serde(untagged)]
pub enum Outcome<'a, T> {
    /// The result.
    Done(T),
    /// The error in its place.
    Failed {
        /// The error.
        error: Error<'a>,
    },
}

#[derive(Serialize)]
struct Answer<'a, B> {
    id: i64,
    #[serde(flatten)]
    body: &'a B,
}

#[derive(Serialize)]
struct Results<'a, T> {
    results: Vec<Outcome<'a, T>>,
}

/// The value of `snapshot`, in answers too.
pub const LATEST_PER_KEY: &str = "latest_per_key";

/// The answer at the end of a snapshot.
#[derive(Serialize)]
pub struct SnapshotEnd {
    snapshot_end: Skipped,
}

#[derive(Serialize)]
struct Skipped {
    skipped: u64,
}

impl SnapshotEnd {
    /// The end of one that left out so many records without a key.
    pub fn new(skipped: u64) -> Self {
        Self { snapshot_end: Skipped { skipped } }
    }
}
