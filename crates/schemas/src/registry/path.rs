//! Paths of Confluent's REST API.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::wire::SchemaId;

/// The path of a schema.
pub(super) fn schema_path(id: SchemaId) -> String {
    match id {
        SchemaId::Number(_) => format!("/schemas/ids/{id}"),
        SchemaId::Guid(_) => format!("/schemas/guids/{id}"),
    }
}

/// The path of a subject. None: no registry has it, as it is empty, too long, or would change the path.
pub(super) fn subject_path(subject: &str) -> Option<String> {
    let is_valid = (1..=MAX_SUBJECT).contains(&subject.len()) && !matches!(subject, "." | "..");
    is_valid.then(|| format!("/subjects/{}", utf8_percent_encode(subject, RESERVED)))
}

/// A name of a client or a registry in an error: in quotes, on one line, and cut.
pub(super) fn shown(name: &str) -> String {
    let cut: String = name.chars().take(MAX_SHOWN).collect();
    format!("{cut:?}")
}

/// All but the unreserved characters (RFC 3986, section 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Bytes of a subject, at most: some name a topic and a record.
const MAX_SUBJECT: usize = 1024;
/// Characters of a name in an error.
const MAX_SHOWN: usize = 100;
