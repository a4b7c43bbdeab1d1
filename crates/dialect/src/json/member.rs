//! Members that must be there, though they can be null: a misspelt name must not write null.

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// A member's JSON, also if it is null. With `serde(default)`, only an absent member is None.
pub fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// The JSON of a [`present`] member; None for null.
///
/// # Errors
/// The member is absent; says what was expected.
pub fn or_null(member: Option<&RawValue>) -> Result<Option<&RawValue>, &'static str> {
    let json = member.ok_or("missing, expected a value or null")?;
    Ok(Some(json).filter(|json| json.get() != "null"))
}
