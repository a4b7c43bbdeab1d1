//! The encodings of answers, and the largest sizes in each.

use sluicegate_dialect::error::MAX_RECORD_ERROR_BYTES;
use sluicegate_dialect::json::format::Format;

use super::json;

/// The encoding of a command's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Protobuf,
    /// With keys and values in this format.
    Json(Format),
}

impl Encoding {
    /// The largest result of one record or partition, in bytes, without records.
    pub(super) fn max_result_bytes(self) -> usize {
        match self {
            Self::Protobuf => MAX_RESULT_BYTES,
            Self::Json(_) => json::MAX_RESULT_BYTES,
        }
    }

    /// The largest delivery of so many records, which have so many bytes in protobuf.
    pub(super) fn max_delivery_bytes(self, bytes: usize, records: usize) -> usize {
        match self {
            Self::Protobuf => bytes.saturating_add(ENVELOPE_BYTES),
            Self::Json(_) => json::max_delivery_bytes(bytes, records),
        }
    }
}

/// Bytes of an answer around its body: the gRPC head, the sequence, tags, lengths, offsets, a trace id, and our own
/// short texts.
pub(super) const ENVELOPE_BYTES: usize = 160;
/// The largest result of one record or partition, in bytes, without records.
pub(crate) const MAX_RESULT_BYTES: usize = MAX_RECORD_ERROR_BYTES + 80;
