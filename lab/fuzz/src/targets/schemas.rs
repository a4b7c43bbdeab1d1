//! Schemas of registries, and what is written with them.

use super::parts;
use crate::schemas_invariants::{check_json_schema, check_protobuf};

/// A schema's text, or nothing for one of each kind, and after NUL: the message's index, and the message or its JSON.
pub(super) fn protobuf(input: &[u8]) {
    let [schema, message] = parts(input);
    if let (Ok(schema), Some((index, bytes))) = (str::from_utf8(schema), message.split_first()) {
        check_protobuf(schema, usize::from(*index), bytes);
    }
}

/// A schema's text and a value.
pub(super) fn json_schema(input: &[u8]) {
    let [schema, value] = parts(input);
    if let Ok(schema) = str::from_utf8(schema) {
        check_json_schema(schema, value);
    }
}
