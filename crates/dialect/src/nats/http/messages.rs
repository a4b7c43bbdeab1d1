//! Messages in a body.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use sluicegate_backend::command;

use crate::http::Batch;
use crate::http::body::{BodyError, given, headers, object, wrong};
use crate::http::media_type::Format;
use crate::json::present;
use crate::nats::publish;

/// The messages of a body.
pub(super) fn batch(body: &str) -> Result<Batch<'_>, BodyError> {
    Ok(Batch { records: object::<Messages>(body, "the body")?.messages, ..Batch::default() })
}

/// A message of a body.
pub(super) fn message(
    item: &RawValue,
    place: &str,
    format: Format,
    stream: &str,
) -> Result<command::Record, BodyError> {
    let message: Message = object(item.get(), place)?;
    let text = |value: &RawValue, name| {
        let text: Option<String> = serde_json::from_str(value.get()).ok();
        let text = text.filter(|text| !text.is_empty());
        text.ok_or_else(|| wrong(&format!("{place}.{name}"), "expected a string that is not empty"))
    };
    let subject = message.subject.ok_or_else(|| wrong(&format!("{place}.subject"), "expected a string"))?;
    let headers = message.headers.map_or(Ok(Vec::new()), |list| headers(list, place))?;
    let id = message.message_id.map_or(Ok(String::new()), |id| text(id, "message_id"))?;
    let subject = text(subject, "subject")?;
    // Messages have no null.
    let data = given(message.data, &format!("{place}.data"), format)?.unwrap_or_default();
    Ok(publish::message(stream.to_owned(), subject, data, headers, id, message.sequence.is_some()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Messages<'a> {
    #[serde(borrow)]
    messages: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Message<'a> {
    #[serde(borrow)]
    subject: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    headers: Option<&'a RawValue>,
    #[serde(borrow)]
    message_id: Option<&'a RawValue>,
    // Of messages that were read: they can be written as they are.
    sequence: Option<IgnoredAny>,
    #[serde(rename = "stream")]
    _stream: Option<IgnoredAny>,
    #[serde(rename = "timestamp")]
    _timestamp: Option<IgnoredAny>,
}
