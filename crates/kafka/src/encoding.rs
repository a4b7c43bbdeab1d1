//! Values and keys that clients give as JSON, as bytes with a schema.

use std::sync::Arc;
use std::time::{Duration, Instant};
use std::vec::IntoIter;

use bytes::Bytes;
use futures_util::future::join_all;
use sluicegate_backend::command::{Record, SchemaChoice};
use sluicegate_backend::rate::ClusterRate;
use sluicegate_backend::{CommandError, Fault};
use sluicegate_fair_share::Holder;
use sluicegate_protocol::SchemaType;
use sluicegate_protocol::error_code::{INVALID_RECORD, INVALID_REQUEST, MESSAGE_TOO_LARGE};
use sluicegate_schemas::EncodeError;
use sluicegate_schemas::registry::{Known, Missing, Registry, SchemaText};
use sluicegate_schemas::wire::{self, Part, SchemaId};

use super::decoding::{DECODED_PER_SCANNED, Schemas};

/// Encodes records: see [`Backend::encode`](sluicegate_backend::Backend::encode). Each schema of a command is looked up
/// once, all of them together.
///
/// # Cancel safety
/// As there.
pub(crate) async fn encode(
    schemas: &Schemas,
    holder: Holder,
    records: &mut [Record],
    errors: &mut [Option<CommandError>],
    scans: &ClusterRate,
) {
    let (given, wanted) = take(records, errors);
    if given.is_empty() {
        return;
    }
    let bytes = given.iter().map(|given| given.json.len()).fold(0, usize::saturating_add);
    let found = join_all(wanted.iter().map(|wanted| wanted.look_up(&schemas.registry, holder))).await;
    scans.take(holder.source, bytes / DECODED_PER_SCANNED).await;
    let max_bytes = bytes.saturating_mul(MAX_GROWTH).saturating_add(MAX_EXTRA);
    let mut work = Work { left: given.into_iter(), done: Vec::new(), found, bytes: 0, max_bytes };
    while work.left.len() > 0 {
        // Not at once, however few they are: defaults of a schema make much of little JSON.
        let turn = move || {
            work.advance();
            work
        };
        work = schemas.run(holder, turn).await;
    }
    for (index, part, encoded) in work.done {
        let (Some(record), Some(error)) = (records.get_mut(index), errors.get_mut(index)) else { continue };
        match encoded {
            Ok((id, bytes)) => put(record, part, id, bytes),
            Err(failed) => drop(error.get_or_insert(failed)),
        }
    }
}

/// A value or key of a record.
struct Given {
    record: usize,
    part: Part,
    json: Bytes,
    /// Its schema among those that the command needs.
    schema: usize,
    /// The language that the schema must have.
    schema_type: Option<SchemaType>,
}

/// A schema that a command needs.
#[derive(PartialEq)]
struct Wanted {
    choice: SchemaChoice,
    /// Empty: it has an id.
    subject: String,
}

/// The values and keys to encode, and the schemas for them.
fn take(records: &mut [Record], errors: &mut [Option<CommandError>]) -> (Vec<Given>, Vec<Wanted>) {
    let (mut given, mut wanted) = (Vec::new(), Vec::new());
    for (index, (record, error)) in records.iter_mut().zip(errors).enumerate() {
        let (of_key, of_value) = (record.key_schema.take(), record.value_schema.take());
        for (part, json, choice) in [(Part::Key, &record.key, of_key), (Part::Value, &record.value, of_value)]
        {
            let (Some(json), Some(choice), None) = (json, choice, &*error) else { continue };
            let this = Wanted::new(choice, &record.topic, part);
            // Neighbours usually share one.
            let schema = wanted.iter().rposition(|known| *known == this);
            if schema.is_none() && wanted.len() >= MAX_SCHEMAS {
                let message = format!("more than {MAX_SCHEMAS} schemas in one command");
                *error = Some(CommandError::new(Fault::Invalid, INVALID_REQUEST, message));
                continue;
            }
            let schema = schema.unwrap_or_else(|| {
                wanted.push(this);
                wanted.len().saturating_sub(1)
            });
            let (json, schema_type) = (json.clone(), record.schema_type);
            given.push(Given { record: index, part, json, schema, schema_type });
        }
    }
    (given, wanted)
}

impl Wanted {
    fn new(choice: SchemaChoice, topic: &str, part: Part) -> Self {
        let subject = match &choice {
            SchemaChoice::Topic | SchemaChoice::Text { .. } => format!("{topic}-{}", name(part)),
            SchemaChoice::Subject(subject) => String::from(&**subject),
            SchemaChoice::Id(_) => String::new(),
        };
        Self { choice, subject }
    }

    /// The schema, or an error that does not name the part yet.
    async fn look_up(&self, registry: &Registry, holder: Holder) -> Result<Arc<Known>, CommandError> {
        let Self { choice, subject } = self;
        let found = match choice {
            SchemaChoice::Topic | SchemaChoice::Subject(_) => registry.latest(holder, subject).await,
            SchemaChoice::Id(id) => registry.schema(holder, SchemaId::Number(*id)).await,
            SchemaChoice::Text { kind, text, registers } => {
                let schema = String::from(&**text);
                let text = SchemaText { kind: *kind, schema, references: Vec::new() };
                match registers {
                    true => registry.register(holder, subject, text).await,
                    false => registry.find(holder, subject, text).await,
                }
            }
        };
        let invalid = |message: String| CommandError::new(Fault::Invalid, INVALID_REQUEST, message);
        found.map_err(|missing| match (missing, choice) {
            (Missing::Unanswered(why), _) => {
                let message = format!("{why}, the record was not written");
                CommandError::new(Fault::Transient, 0, message).with_retry()
            }
            (Missing::Unknown(reason), SchemaChoice::Text { registers: false, .. }) => {
                invalid(format!("{reason}, and this route registers none (`register_schemas`)"))
            }
            (Missing::Unknown(reason) | Missing::Refused(reason), _) => invalid(reason),
        })
    }
}

/// The id of a schema, and the bytes that were encoded with it.
type Encoded = Result<(u32, Bytes), CommandError>;

/// Encoding of the values and keys of one command.
struct Work {
    left: IntoIter<Given>,
    done: Vec<(usize, Part, Encoded)>,
    found: Vec<Result<Arc<Known>, CommandError>>,
    /// Encoded bytes until now.
    bytes: usize,
    max_bytes: usize,
}

impl Work {
    /// Encodes for as long as a turn takes.
    fn advance(&mut self) {
        let began = Instant::now();
        while began.elapsed() < TURN
            && let Some(given) = self.left.next()
        {
            let encoded = self.encode(&given).map_err(|mut error| {
                error.message = format!("{}: {}", name(given.part), error.message);
                error
            });
            self.bytes = encoded.iter().fold(self.bytes, |sum, (_, bytes)| sum.saturating_add(bytes.len()));
            self.done.push((given.record, given.part, encoded));
        }
    }

    fn encode(&self, given: &Given) -> Encoded {
        let known = match self.found.get(given.schema) {
            Some(Ok(known)) => known,
            Some(Err(error)) => return Err(error.clone()),
            None => return Err(invalid("it has no schema".to_owned())),
        };
        // A look-up for a record to write always gives a number.
        let SchemaId::Number(id) = known.id else {
            return Err(invalid("its schema has no number in the registry".to_owned()));
        };
        let kind = known.schema.kind();
        if let Some(expected) = given.schema_type.filter(|expected| *expected != kind) {
            let (expected, found) = (expected.name(), kind.name());
            return Err(invalid(format!(
                "expected a schema of type {expected}, schema {id} is of type {found}"
            )));
        }
        let indexes = (kind == SchemaType::Protobuf).then_some(FIRST_MESSAGE);
        let mut bytes = Vec::new();
        wire::prefix(id, indexes, &mut bytes);
        known.schema.encode(FIRST_MESSAGE, &given.json, &mut bytes).map_err(|error| unfit(&error))?;
        if self.bytes.saturating_add(bytes.len()) > self.max_bytes {
            let message = format!(
                "expected at most {} bytes for the values and keys of one command, once they are encoded",
                self.max_bytes
            );
            return Err(CommandError::new(Fault::TooLarge, MESSAGE_TOO_LARGE, message));
        }
        Ok((id, bytes.into()))
    }
}

/// Gives a record its encoded value or key, and the id of the schema.
fn put(record: &mut Record, part: Part, id: u32, bytes: Bytes) {
    // Readers look there first, and it would be the schema of a record that was copied.
    record.headers.retain(|header| header.key != part.header());
    match part {
        Part::Key => (record.key, record.key_schema) = (Some(bytes), Some(SchemaChoice::Id(id))),
        Part::Value => (record.value, record.value_schema) = (Some(bytes), Some(SchemaChoice::Id(id))),
    }
}

fn name(part: Part) -> &'static str {
    match part {
        Part::Key => "key",
        Part::Value => "value",
    }
}

/// The error of JSON that its schema does not allow. Names of members are the client's.
fn unfit(EncodeError { path, expected }: &EncodeError) -> CommandError {
    let shown = |text: &str| text.chars().take(MAX_SHOWN).flat_map(char::escape_debug).collect::<String>();
    let place = if path.is_empty() { String::new() } else { format!("{}: ", shown(path)) };
    let expected: String = expected.chars().take(MAX_EXPECTED).collect();
    invalid(format!("{place}{expected}"))
}

fn invalid(message: String) -> CommandError {
    CommandError::new(Fault::InvalidRecord, INVALID_RECORD, message)
}

/// Schemas of one command, at most: each is looked up.
const MAX_SCHEMAS: usize = 50;
/// JSON of a command becomes so many times its bytes at most, and so many more for defaults.
const MAX_GROWTH: usize = 4;
const MAX_EXTRA: usize = 4 * 1024 * 1024;
/// The time after which others have a turn. One value or key can take longer.
const TURN: Duration = Duration::from_millis(5);
/// Message indexes of a schema's first message.
const FIRST_MESSAGE: &[usize] = &[0];
/// Characters of a path in an error, and of an expectation.
const MAX_SHOWN: usize = 200;
const MAX_EXPECTED: usize = 500;

#[cfg(test)]
mod tests;
