//! The rights of a route's clients.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::Deserialize as _;
use serde_json::Value;
use sluicegate_protocol::metadata;
use sluicegate_protocol::metadata::{MAX_ACCESS_BYTES, MAX_IDENTITY_BYTES};
use sluicegate_rights::claims::Path;
use sluicegate_rights::entry::Entry;
use sluicegate_rights::policy::{Mistake, Policy};
use sluicegate_rights::template::Template;
use sluicegate_rights::topics::{MAX_LIST_BYTES, Pattern};
use sluicegate_rights::{Claims, Quota, Topics};

use super::identity::{self, Source};
use super::reader::Reader;

/// The rights of a route's clients.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Grant {
    /// Whether they can read.
    pub read: bool,
    /// Whether they can write.
    pub write: bool,
    /// The topics that they can use, as the bridge's header lists them; None for all.
    pub topics: Option<String>,
    /// The topics whose tables they can read, in the same form; None for none.
    pub tables: Option<String>,
    /// The groups in which they can consume, in the same form; None for none.
    pub consume: Option<String>,
    /// Whether JSON that they write is encoded with the schema of its topic.
    pub encode: bool,
    /// Whether schemas that they give are registered.
    pub register_schemas: bool,
    /// Whether they learn of the cluster's brokers, and of the configuration of topics.
    pub describe: bool,
    /// The rights of each person within that. None: all can do the same.
    pub policy: Option<Personal>,
    /// Whether a right has all topics because the route names none for it.
    pub is_unlimited: bool,
}

/// The rights of each person.
#[derive(Debug, Clone, PartialEq)]
pub struct Personal {
    /// The rules that the bridge is told.
    pub policy: Policy,
    /// The same as JSON.
    json: String,
    /// How the gateway knows who clients are.
    pub source: Option<Source>,
}

impl Personal {
    /// The header that tells the bridge verified claims: those that the policy uses.
    ///
    /// # Errors
    /// They are too long.
    pub fn told(&self, claims: &Claims) -> Result<String, &'static str> {
        let told = STANDARD_NO_PAD.encode(claims.only(self.policy.paths()).to_json());
        if told.len() <= MAX_IDENTITY_BYTES { Ok(told) } else { Err(LONG_CLAIMS) }
    }
}

/// A right as it is configured.
enum Right {
    /// All of `topics`, or nothing.
    Shared(bool),
    /// Its own topics.
    Own(Vec<Entry>),
}

impl Grant {
    /// The grant of a route that allows reads by default and writes on request.
    pub(super) fn read(reader: &mut Reader) -> Self {
        let consume = reader.value("consume").map(|value| parse(reader, "consume", value));
        let topics = entries(reader, "topics");
        let (read, write) = (right(reader, "read", true), right(reader, "write", false));
        if let (Some(_), Right::Own(_), Right::Own(_) | Right::Shared(false)) = (&topics, &read, &write) {
            reader.mistake("topics", "has no use, because each right names its own topics");
        }
        let readable = match &read {
            Right::Own(entries) => Some(&**entries),
            Right::Shared(true) => topics.as_deref(),
            Right::Shared(false) => Some(&[][..]),
        };
        let tables = tables(reader, readable);
        let encode = reader.flag("encode");
        let consumes = consume.is_some();
        let grant = Self { tables, encode, ..Self::of(reader, topics, read, write, consume) };
        if consumes && !grant.read {
            reader.mistake("consume", "needs read: clients of the route cannot read");
        }
        if encode && !grant.write {
            reader.mistake("encode", WRITES);
        }
        grant
    }

    /// The same of a route whose clients can give schemas, and learn of the cluster.
    pub(super) fn rest(reader: &mut Reader) -> Self {
        let grant = Self::read(reader).with_schemas(reader);
        Self { describe: reader.flag("describe"), ..grant }
    }

    fn with_schemas(self, reader: &mut Reader) -> Self {
        let register_schemas = reader.flag("register_schemas");
        if register_schemas && !self.write {
            reader.mistake("register_schemas", WRITES);
        }
        Self { register_schemas, ..self }
    }

    /// The grant of a route that only writes: to `topic`, or to any of its topics if requests can name one.
    pub(super) fn write(reader: &mut Reader, topic: Option<&str>, names_its_own: bool) -> Self {
        let topics = entries(reader, "topics");
        if let (Some(topic), Some(topics)) = (topic, &topics)
            && topics.iter().all(is_for_all)
            && !topics.iter().any(|entry| matches(&String::from(entry.topic.clone()), topic))
        {
            reader.mistake("topics", &format!("must cover the route's topic ({topic})"));
        }
        let grant = Self::of(reader, topics, Right::Shared(false), Right::Shared(true), None);
        let only = topic.filter(|_| !names_its_own).map(str::to_owned);
        let is_unlimited = grant.is_unlimited && only.is_none();
        Self { topics: only.or(grant.topics), encode: reader.flag("encode"), is_unlimited, ..grant }
    }

    fn of(
        reader: &mut Reader,
        topics: Option<Vec<Entry>>,
        read: Right,
        write: Right,
        consume: Option<Vec<Entry>>,
    ) -> Self {
        let shared = [&read, &write].into_iter().any(|right| matches!(right, Right::Shared(true)));
        let is_unlimited = topics.is_none() && shared;
        let (source, identity) = identity::read(reader).unzip();
        let claims: BTreeMap<String, Path> = reader.parsed("claims", CLAIMS).unwrap_or_default();
        let capabilities = reader.parsed("capabilities", CAPABILITIES);
        let quota = quota(reader);
        let asks =
            source.is_some() || !claims.is_empty() || capabilities.is_some() || quota != Quota::default();
        if let (Right::Shared(read), Right::Shared(write)) = (&read, &write)
            && !asks
            && topics.iter().chain(&consume).flatten().all(Entry::is_plain)
        {
            let consume = consume.map(|groups| joined(reader, "consume", groups));
            let topics = topics.map(|topics| joined(reader, "topics", topics));
            return Self { read: *read, write: *write, topics, consume, is_unlimited, ..Self::default() };
        }
        let topics = topics.unwrap_or_else(|| Template::parse("*").map(Entry::from).into_iter().collect());
        let granted = |right: Right| match right {
            Right::Shared(false) => None,
            Right::Shared(true) => Some(topics.clone()),
            Right::Own(entries) => Some(entries),
        };
        let own = [("read", &read), ("write", &write)];
        let own = own.map(|(key, right)| matches!(right, Right::Own(_)).then_some(key));
        let (read, write) = (granted(read), granted(write));
        // The policy says which of them.
        let all_groups = consume.as_ref().map(|_| "*".to_owned());
        let policy = Policy { identity, claims, read, write, consume, capabilities, quota };
        if let Err(Mistake { member, reason }) = policy.check() {
            let member = match member.split_once('[') {
                Some((right, rest)) if !own.contains(&Some(right)) => format!("topics[{rest}").into(),
                _ => member,
            };
            reader.mistake(&member, &reason);
        }
        let json = policy.to_json();
        if json.len() > MAX_ACCESS_BYTES {
            reader.mistake(
                "topics",
                &format!("must be at most {MAX_ACCESS_BYTES} bytes, with claims and conditions"),
            );
        }
        let (read, write) = (policy.read.is_some(), policy.write.is_some());
        let policy = Some(Personal { policy, json, source });
        Self { read, write, consume: all_groups, policy, is_unlimited, ..Self::default() }
    }

    /// The headers that tell the bridge.
    pub(super) fn metadata(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let read = (!self.read).then_some((metadata::READ, "false"));
        let write = self.write.then_some((metadata::WRITE, "true"));
        let topics = self.topics.as_deref().map(|topics| (metadata::TOPICS, topics));
        let policy = self.policy.as_ref().map(|personal| (metadata::ACCESS, personal.json.as_str()));
        let tables = self.tables.as_deref().map(|tables| (metadata::TABLES, tables));
        let consume = self.consume.as_deref().map(|groups| (metadata::CONSUME, groups));
        let encode = self.encode.then_some((metadata::ENCODE, "true"));
        let register = self.register_schemas.then_some((metadata::REGISTER_SCHEMAS, "true"));
        let describe = self.describe.then_some((metadata::DESCRIBE, "true"));
        let told = [read, write, topics, tables, consume, encode, register, describe, policy];
        told.into_iter().flatten()
    }
}

/// The most that each person can have and do.
fn quota(reader: &mut Reader) -> Quota {
    let by_default = Quota::default();
    let quota = reader.object("quota", |reader| {
        let mut number = |key, by_default| {
            reader.number(key, "", (1, u32::MAX)).and_then(NonZeroU32::new).unwrap_or(by_default)
        };
        Quota {
            sessions: number("sessions", by_default.sessions),
            subscriptions: number("subscriptions", by_default.subscriptions),
            consumers: number("consumers", by_default.consumers),
            commands_per_second: number("commands_per_second", by_default.commands_per_second),
            records_per_second: number("records_per_second", by_default.records_per_second),
            read_bytes_per_second: number("read_bytes_per_second", by_default.read_bytes_per_second),
            write_bytes_per_second: number("write_bytes_per_second", by_default.write_bytes_per_second),
        }
    });
    quota.unwrap_or(by_default)
}

fn right(reader: &mut Reader, key: &'static str, default: bool) -> Right {
    match reader.value(key) {
        None => Right::Shared(default),
        Some(Value::Bool(flag)) => Right::Shared(flag),
        Some(value @ Value::Array(_)) => Right::Own(parse(reader, key, value)),
        Some(_) => {
            reader.mistake(key, "must be true, false or an array of topics");
            Right::Shared(default)
        }
    }
}

fn entries(reader: &mut Reader, key: &'static str) -> Option<Vec<Entry>> {
    let value = reader.value(key)?;
    Some(parse(reader, key, value))
}

fn parse(reader: &mut Reader, key: &'static str, value: Value) -> Vec<Entry> {
    let items = match value {
        Value::Array(items) => items,
        // APISIX writes configuration with Lua's cjson, to which every empty table is an object.
        Value::Object(object) if object.is_empty() => Vec::new(),
        _ => {
            reader.mistake(key, "must be an array of topics");
            return Vec::new();
        }
    };
    if items.is_empty() {
        reader.mistake(key, TOPICS);
    }
    let mut entries = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        let entry = match &item {
            Value::String(text) if text.contains(['$', '{', '<', '%']) => {
                Template::parse(text).map(Entry::from).map_err(Cow::into_owned)
            }
            Value::String(text) => Template::parse(text).map(Entry::from).map_err(|_| TOPICS.to_owned()),
            Value::Object(_) => Entry::deserialize(&item).map_err(|error| error.to_string()),
            _ => Err("must be a topic, or an object with \"topic\", and \"when\" or \"only\"".to_owned()),
        };
        match entry {
            Ok(entry) => entries.push(entry),
            Err(reason) => {
                let (member, reason) = match reason.split_once(": ") {
                    Some((member, reason)) if member.starts_with("when.") => (format!(".{member}"), reason),
                    _ => (String::new(), &*reason),
                };
                reader.mistake(&format!("{key}[{index}]{member}"), reason);
            }
        }
    }
    entries
}

/// The topics with tables, which are the same for everybody: what a person can read of them is the right's to say. None of
/// the readable topics: all.
fn tables(reader: &mut Reader, readable: Option<&[Entry]>) -> Option<String> {
    let tables = entries(reader, "tables")?;
    let text = |entry: &Entry| String::from(entry.topic.clone());
    for (index, table) in tables.iter().map(text).enumerate() {
        if readable.is_some_and(|readable| !readable.iter().any(|entry| can_share(&table, &text(entry)))) {
            reader.mistake(&format!("tables[{index}]"), "must be a topic that clients of the route can read");
        }
    }
    if !tables.iter().all(Entry::is_plain) {
        reader.mistake("tables", "must be the same for everybody, without placeholders and conditions");
    }
    Some(joined(reader, "tables", tables))
}

/// Whether an entry is the same for everybody.
fn is_for_all(entry: &Entry) -> bool {
    entry.claims().next().is_none()
}

fn joined(reader: &mut Reader, key: &'static str, topics: Vec<Entry>) -> String {
    let topics: Vec<String> = topics.into_iter().map(|entry| entry.topic.into()).collect();
    let joined = topics.join(",");
    if joined.len() > MAX_LIST_BYTES {
        reader.mistake(key, &format!("must be at most {MAX_LIST_BYTES} bytes in all"));
    }
    joined
}

/// Whether a topic can be among those of both entries, whatever the values of claims are.
fn can_share(a: &str, b: &str) -> bool {
    let fixed = |text: &str| text.find(['$', '*']).and_then(|end| text.get(..end)).map(str::to_owned);
    match (fixed(a), fixed(b)) {
        (None, None) => a == b,
        (Some(a), None) => b.starts_with(&a),
        (None, Some(b)) => a.starts_with(&b),
        (Some(a), Some(b)) => a.starts_with(&b) || b.starts_with(&a),
    }
}

fn matches(pattern: &str, topic: &str) -> bool {
    Pattern::parse(pattern).is_some_and(|pattern| [pattern].into_iter().collect::<Topics>().contains(topic))
}

const WRITES: &str = "needs write: clients of the route cannot write";
const LONG_CLAIMS: &str = "the claims of this identity that the route uses are more than 3072 bytes";
const TOPICS: &str = "must be topics such as \"orders\" or prefixes such as \"public.*\"";
const CLAIMS: &str = "must be an object of paths, such as {\"team\": [\"realm\", \"team\"]}";
const CAPABILITIES: &str = "must be the path of a claim, such as [\"capabilities\"]";
