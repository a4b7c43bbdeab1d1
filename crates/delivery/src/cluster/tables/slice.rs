//! The slice of a log that a table has.

use bytes::Bytes;
use sluicegate_backend::Chunk;
use sluicegate_rights::Rows;

use crate::filter::{select_key, select_rows};

/// The records of a log that a table is made of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Slice {
    /// All records, for all clients.
    All,
    /// Records of these rows, which keys tell apart.
    Rows(Rows),
    /// Records of one key.
    Key(Bytes),
}

impl Slice {
    /// The rows alone, if keys tell them apart from others: all records of a key are among them, or none.
    pub(crate) fn of_rows(rows: &Rows) -> Option<Self> {
        (!rows.is_all() && !rows.look_at_headers()).then(|| Self::Rows(rows.clone()))
    }

    /// The records of a read that are part of it, encoded.
    pub(super) fn of(&self, read: Chunk) -> Bytes {
        let selected = match self {
            Self::All => read,
            Self::Rows(rows) => select_rows(read, rows).0,
            Self::Key(key) => select_key(read, key),
        };
        selected.messages
    }
}
