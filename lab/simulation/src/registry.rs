//! A schema registry that is late, down or wrong, and values whose schemas it has.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use serde_json::{Value, json};
use sluicegate_fair_share::Places;
use sluicegate_kafka::Schemas;
use sluicegate_protocol::{KafkaMessage, SchemaType};
use sluicegate_schemas::registry::{Registry, Request, Response, Transport, Unanswered};
use tokio::time::{Instant, sleep};

use crate::kafka::batch::sized;
use crate::world::World;

/// A registry of all bridges. Clones share it.
#[derive(Clone)]
pub(crate) struct SchemaRegistry(Arc<Mutex<State>>);

struct State {
    random: fastrand::Rng,
    /// Whether bridges give values as they are stored while it does not answer.
    gives_bytes: bool,
    mood: Mood,
    /// Bridges can say until then that it does not answer.
    silent: Option<Instant>,
    /// Bridges can say until then that it does not have a schema, or has another one in its place.
    wrong: BTreeMap<u32, Instant>,
}

/// The way in which it answers.
#[derive(Debug, Clone, Copy)]
enum Mood {
    Well,
    Late,
    Down,
    Silent,
    Wrong,
}

impl SchemaRegistry {
    pub(crate) fn new(mut random: fastrand::Rng) -> Self {
        let gives_bytes = random.bool();
        let state = State { random, gives_bytes, mood: Mood::Well, silent: None, wrong: BTreeMap::new() };
        Self(Arc::new(Mutex::new(state)))
    }

    /// The registry for a bridge, which knows none of its schemas.
    pub(crate) fn schemas(&self) -> Schemas {
        let registry = Arc::new(Registry::new(Arc::new(self.clone()), Arc::new(())));
        Schemas { registry, gives_bytes: self.0.lock().gives_bytes, places: Places::new(1) }
    }

    /// Changes its mood again and again, until nothing fails any more.
    pub(crate) async fn run(self, world: Arc<World>) {
        while !world.is_calm() {
            let pause = self.0.lock().random.u64(..8_000);
            sleep(Duration::from_millis(pause)).await;
            if !world.is_quick() {
                let mut state = self.0.lock();
                let moods = [Mood::Well, Mood::Well, Mood::Late, Mood::Down, Mood::Silent, Mood::Wrong];
                state.mood = moods[state.random.usize(..moods.len())];
                world.event(|| format!("the registry is {:?}", state.mood));
            }
        }
    }

    /// Lets it answer well.
    pub(crate) fn heal(&self) {
        self.0.lock().mood = Mood::Well;
    }

    /// A value with one of its schemas, or another's, or none; some are not what their schema describes.
    pub(crate) fn value(&self, text: String) -> Bytes {
        let random = &mut self.0.lock().random;
        let id = random.u32(..=UNKNOWN);
        let mut value = match encode(id, text.clone()) {
            Some(payload) => framed(id, &payload),
            None if id == 0 => return text.into(),
            None => framed(id, text.as_bytes()),
        };
        if random.u8(..12) == 0 {
            value.pop();
        }
        value.into()
    }

    /// Messages with their values as they are stored, which a client has got that asked for JSON at this moment, if that is
    /// known.
    ///
    /// # Errors
    /// A value is not the JSON that its schema has for it, or is as it is stored without a good reason.
    pub(crate) fn stored(
        &self,
        messages: &[KafkaMessage],
        asked: Option<Instant>,
    ) -> Result<Vec<KafkaMessage>, String> {
        let stored = |message: &KafkaMessage| {
            let mut stored = message.clone();
            let schema = stored.value_schema.take();
            let reason = std::mem::take(&mut stored.not_decoded);
            let Some(value) = &message.value else { return Ok(stored) };
            let told = match (&schema, framed_id(value)) {
                (Some(schema), _) if reason.is_empty() => {
                    let payload = payload(schema.id, schema.r#type(), value);
                    stored.value = payload.map(|payload| framed(schema.id, &payload).into());
                    stored.value.is_some()
                }
                (None, Some((id, payload))) => self.0.lock().may_say((id, payload), &reason, asked),
                (None, None) => reason.is_empty(),
                (Some(_), _) => false,
            };
            if told { Ok(stored) } else { Err(format!("expected other JSON than {message:?}")) }
        };
        messages.iter().map(stored).collect()
    }

    fn answer(&self, path: &str) -> (Duration, Result<Response, Unanswered>) {
        let id = path.strip_prefix("/schemas/ids/").and_then(|id| id.parse().ok()).unwrap_or_default();
        let mut state = self.0.lock();
        let State { random, mood, silent, wrong, .. } = &mut *state;
        let (late, way) = (random.u64(..12_000), random.u8(..5));
        let delay = Duration::from_millis(match mood {
            Mood::Well | Mood::Down | Mood::Wrong => late / 200,
            Mood::Late => late,
            Mood::Silent => 3_600_000,
        });
        let answer = |status, body: String| Ok(Response { status, body: body.into() });
        let missing = || answer(404, r#"{"error_code": 40403, "message": "not found"}"#.to_owned());
        let answered = match (*mood, way) {
            (Mood::Down, _) => Err(Unanswered::Failed("connection refused".to_owned())),
            (Mood::Wrong, 0) => answer(500, "{}".to_owned()),
            (Mood::Wrong, 1) => answer(404, "<html>".to_owned()),
            (Mood::Wrong, 2) => answer(200, "<html>".to_owned()),
            (Mood::Wrong, 3) => missing(),
            (Mood::Wrong, _) => answer(200, document(id + 1, &format!(r#""id": {}, "#, id + 1))),
            _ if id < UNUSABLE + 1 => {
                answer(200, document(id, if way == 0 { "" } else { "\"guid\": null, " }))
            }
            _ => missing(),
        };
        if delay >= LOOK_UP / 2 || !matches!(&answered, Ok(Response { status: 200, .. })) || way == 2 {
            *silent = Some(Instant::now() + LOOK_UP);
        }
        if matches!(mood, Mood::Wrong) {
            wrong.insert(id, Instant::now() + delay + MISSING);
        }
        (delay, answered)
    }
}

impl State {
    /// Whether a bridge may give a value as it is stored for this reason; none if it is empty.
    fn may_say(&self, (id, payload): (u32, &[u8]), reason: &str, asked: Option<Instant>) -> bool {
        let is_then = |until: Option<Instant>| until.is_some_and(|until| asked.is_none_or(|at| at <= until));
        if reason == "the schema registry does not answer" {
            return self.gives_bytes && is_then(self.silent);
        }
        let is_wrong = || is_then(self.wrong.get(&id).copied());
        match reason.strip_prefix(&format!("schema {id} ")) {
            Some("is not in the registry") => id >= UNKNOWN || is_wrong(),
            Some("cannot be read: the registry answers with another schema") => is_wrong(),
            Some(other) => id == UNUSABLE && other.starts_with("cannot be read: "),
            None => !reason.is_empty() && id < UNUSABLE && decode(id, payload).is_none(),
        }
    }
}

impl Transport for SchemaRegistry {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, Unanswered>> {
        async move {
            let (delay, answer) = self.answer(&request.path);
            sleep(delay).await;
            answer
        }
        .boxed()
    }

    fn shown(&self) -> &str {
        "registry"
    }
}

/// Messages with their values as they are stored, which a client has got that has asked for that.
pub(crate) fn as_stored(messages: &[KafkaMessage]) -> Result<Cow<'_, [KafkaMessage]>, String> {
    let is_other =
        |message: &&KafkaMessage| message.value_schema.is_some() || !message.not_decoded.is_empty();
    match messages.iter().find(is_other) {
        Some(other) => Err(format!("nobody asked for JSON: {other:?}")),
        None => Ok(messages.into()),
    }
}

/// The schema of an id, and what else the registry says.
fn document(id: u32, besides: &str) -> String {
    let (kind, schema) = match id {
        STRING => ("AVRO", r#""string""#.to_owned()),
        JSON => ("JSON", r#"{"type": "object"}"#.to_owned()),
        UNUSABLE => ("AVRO", r#""nothing""#.to_owned()),
        _ => {
            let field = format!(r#"{{"name": "f{id}", "type": "string"}}"#);
            ("AVRO", format!(r#"{{"type": "record", "name": "R", "fields": [{field}]}}"#))
        }
    };
    format!(r#"{{{besides}"schemaType": "{kind}", "schema": {}}}"#, json!(schema))
}

/// The bytes of a text in a value of a schema; `None`: the registry has none that can be used.
fn encode(id: u32, text: String) -> Option<Vec<u8>> {
    match id {
        // Avro's lengths are those of Kafka's batches.
        STRING | RECORD | OTHER_RECORD => Some(sized(text.as_bytes()).to_vec()),
        JSON => Some(as_json(id, text).into_bytes()),
        _ => None,
    }
}

/// The JSON of the bytes of a value; `None` if its schema does not describe them.
fn decode(id: u32, payload: &[u8]) -> Option<String> {
    let text = match id {
        STRING | RECORD | OTHER_RECORD => {
            let head = payload.iter().position(|byte| *byte < 0x80)? + 1;
            String::from_utf8(payload[head..].to_vec()).ok()?
        }
        _ => text(id, payload)?,
    };
    (encode(id, text.clone())? == payload).then(|| as_json(id, text))
}

/// The JSON of a text: each schema has another.
fn as_json(id: u32, text: String) -> String {
    match id {
        STRING => json!(text),
        _ => json!({ format!("f{id}"): text }),
    }
    .to_string()
}

/// The text in JSON, as the schema of this id has it.
fn text(id: u32, json: &[u8]) -> Option<String> {
    let json: Value = serde_json::from_slice(json).ok()?;
    let text = if id == STRING { &json } else { &json[format!("f{id}")] };
    text.as_str().map(str::to_owned)
}

/// The bytes of JSON that is as this schema has it.
fn payload(id: u32, kind: SchemaType, json: &[u8]) -> Option<Vec<u8>> {
    let payload = encode(id, text(id, json)?)?;
    let is_kind = kind == if id == JSON { SchemaType::JsonSchema } else { SchemaType::Avro };
    (is_kind && decode(id, &payload)?.as_bytes() == json).then_some(payload)
}

/// A value behind the id of a schema.
fn framed(id: u32, payload: &[u8]) -> Vec<u8> {
    [&[0], &id.to_be_bytes()[..], payload].concat()
}

fn framed_id(value: &[u8]) -> Option<(u32, &[u8])> {
    let (id, payload) = value.strip_prefix(&[0])?.split_first_chunk()?;
    Some((u32::from_be_bytes(*id), payload))
}

/// The ids of schemas. 0 stands for none.
const STRING: u32 = 1;
const RECORD: u32 = 2;
/// The same with another name: its values have the same bytes.
const OTHER_RECORD: u32 = 3;
const JSON: u32 = 4;
/// A schema that is not one.
const UNUSABLE: u32 = 5;
/// The first one that the registry does not have.
const UNKNOWN: u32 = 6;

/// The longest time of a look-up, and for which it says that there was no answer.
const LOOK_UP: Duration = Duration::from_secs(11);
/// The time for which bridges say that a schema is missing, in records that they have kept for as long.
const MISSING: Duration = Duration::from_secs(60);
