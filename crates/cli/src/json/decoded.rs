//! The schemas of decoded values and keys, with the field names of the gateway's own JSON.

use serde::{Deserialize, Serialize};
use sluicegate_client::{KafkaMessage, Schema, SchemaChoice};

use super::Value;

/// Fields that only messages with a schema have.
#[derive(Default, Serialize)]
pub(crate) struct Decoded<'a> {
    /// In tables, whose keys are as they are stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key_json: Option<Value<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_schema: Option<SchemaObject<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_schema: Option<SchemaObject<'a>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    not_decoded: &'a str,
}

impl<'a> Decoded<'a> {
    pub(crate) fn of(message: &'a KafkaMessage) -> Self {
        let KafkaMessage { value_schema, key_schema, not_decoded, .. } = message;
        let [value_schema, key_schema] =
            [value_schema, key_schema].map(|schema| schema.as_deref().map(SchemaObject::of));
        Self { key_json: None, value_schema, key_schema, not_decoded }
    }

    pub(crate) fn of_row(message: &'a KafkaMessage) -> Self {
        Self { key_json: message.key_schema.is_some().then(|| Value(&message.key_json)), ..Self::of(message) }
    }
}

#[derive(Serialize)]
struct SchemaObject<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u32>,
    #[serde(skip_serializing_if = "str::is_empty")]
    guid: &'a str,
    r#type: &'static str,
}

impl<'a> SchemaObject<'a> {
    fn of(schema: &'a Schema) -> Self {
        let id = (schema.id != 0).then_some(schema.id);
        Self { id, guid: &schema.guid, r#type: schema.r#type().name() }
    }
}

/// The schema of a record to write: as a user names it, or as a line that was read has it.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a subject, the id of a schema, or an object with its id")]
pub(super) enum Chosen {
    Id(u32),
    Subject(String),
    Read { id: u32 },
}

impl From<Chosen> for SchemaChoice {
    fn from(chosen: Chosen) -> Self {
        match chosen {
            Chosen::Id(id) | Chosen::Read { id } => id.into(),
            Chosen::Subject(subject) => subject.as_str().into(),
        }
    }
}
