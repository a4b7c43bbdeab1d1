//! The bridge's answer, and its text.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::args::Right;

#[derive(Deserialize)]
pub(super) struct Answer {
    now: String,
    cluster: Option<String>,
    identity: Option<Identity>,
    refused: Option<Refused>,
    entries: Vec<Entry>,
    capabilities: Option<Value>,
    quota: Option<Map<String, Value>>,
    topics: Vec<Topic>,
}

#[derive(Deserialize)]
struct Identity {
    name: Option<String>,
    expected: Option<Expected>,
    algorithm: Option<String>,
    key: Option<String>,
    issuer: Option<String>,
    subject: Option<String>,
    audience: Option<Value>,
    issued_at: Option<String>,
    not_before: Option<String>,
    expires_at: Option<String>,
}

#[derive(Deserialize)]
struct Expected {
    issuer: String,
    audience: Vec<String>,
    algorithms: Vec<String>,
    leeway_ms: u64,
}

#[derive(Deserialize)]
struct Refused {
    status: u16,
    cause: String,
}

#[derive(Deserialize)]
struct Entry {
    right: String,
    entry: Map<String, Value>,
    grants: Vec<Granted>,
    because: Option<String>,
}

#[derive(Deserialize)]
struct Granted {
    topic: String,
    rows: Option<String>,
}

#[derive(Deserialize)]
struct Topic {
    topic: String,
    read: Decision,
    write: Decision,
    table: Decision,
}

#[derive(Deserialize)]
struct Decision {
    allowed: bool,
    rows: Option<String>,
    cause: Option<String>,
    because: Option<String>,
}

impl Answer {
    /// Whether the client is admitted, and has this right to each topic.
    pub(super) fn allows(&self, right: Option<Right>) -> bool {
        let has = |right| self.topics.iter().all(|topic| topic.decision(right).allowed);
        self.refused.is_none() && right.is_none_or(has)
    }

    pub(super) fn lines(&self, right: Option<Right>) -> Vec<String> {
        let mut lines: Vec<String> = self.cluster.iter().map(|name| format!("cluster {name}")).collect();
        match (&self.refused, &self.identity) {
            (Some(Refused { status, cause }), _) => lines.push(format!("refused with {status}: {cause}")),
            (None, Some(_)) => lines.push("accepted".to_owned()),
            (None, None) => lines.push("accepted as nobody in particular".to_owned()),
        }
        lines.extend(self.identity.iter().flat_map(Identity::lines));
        if self.refused.is_some() {
            lines.push(format!("the bridge's clock: {}", self.now));
        }
        lines.extend(self.entries.iter().map(Entry::line));
        lines.extend(self.capabilities.iter().map(|claim| format!("capabilities {claim}")));
        if let Some(quota) = &self.quota {
            let limits: Vec<String> = quota.iter().map(|(name, most)| format!("{name} {most}")).collect();
            lines.push(format!("quota {}", limits.join(", ")));
        }
        let rights = [(Right::Read, "read"), (Right::Write, "write"), (Right::Table, "table")];
        for topic in &self.topics {
            let shown = rights.iter().filter(|(one, _)| right.is_none_or(|right| right == *one));
            lines.extend(shown.map(|(one, name)| topic.line(*one, name)));
        }
        lines
    }
}

impl Identity {
    fn lines(&self) -> Vec<String> {
        let part = |name: &str, value: &Option<String>| Some(format!("{name} {}", value.as_ref()?));
        let audience = self.audience.as_ref().map(|audience| format!("audience {audience}"));
        let says: Vec<String> = [
            part("issuer", &self.issuer),
            part("subject", &self.subject),
            audience,
            part("key", &self.key),
            part("algorithm", &self.algorithm),
            part("issued", &self.issued_at),
            part("not before", &self.not_before),
            part("expires", &self.expires_at),
        ]
        .into_iter()
        .flatten()
        .collect();
        let mut lines: Vec<String> =
            (!says.is_empty()).then(|| format!("it says: {}", says.join(", "))).into_iter().collect();
        let name = self.name.as_deref().unwrap_or_default();
        if let Some(Expected { issuer, audience, algorithms, leeway_ms }) = &self.expected {
            let (audience, algorithms) = (audience.join(" or "), algorithms.join(", "));
            lines.push(format!(
                "[identity.{name}] expects: issuer {issuer}, audience {audience}, algorithm {algorithms}, clocks \
                 within {leeway_ms} ms"
            ));
        }
        lines
    }
}

impl Entry {
    fn line(&self) -> String {
        let Self { right, entry, grants, because } = self;
        let entry = match entry.get("topic") {
            Some(Value::String(topic)) if entry.len() == 1 => topic.clone(),
            _ => Value::Object(entry.clone()).to_string(),
        };
        let granted = |Granted { topic, rows }: &Granted| match rows {
            Some(rows) => format!("{topic} ({rows})"),
            None => topic.clone(),
        };
        let outcome = match because {
            Some(because) => format!("grants nothing, {because}"),
            None => format!("grants {}", grants.iter().map(granted).collect::<Vec<_>>().join(", ")),
        };
        format!("{right} {entry}: {outcome}")
    }
}

impl Topic {
    fn decision(&self, right: Right) -> &Decision {
        match right {
            Right::Read => &self.read,
            Right::Write => &self.write,
            Right::Table => &self.table,
        }
    }

    fn line(&self, right: Right, name: &str) -> String {
        let Decision { allowed, rows, cause, because } = self.decision(right);
        let reason = match (allowed, because) {
            (true, _) => rows.clone().map_or_else(|| "yes".to_owned(), |rows| format!("yes, {rows}")),
            (false, None) => format!("no: {}", cause.as_deref().unwrap_or_default()),
            (false, Some(because)) => format!("no, {because}: {}", cause.as_deref().unwrap_or_default()),
        };
        format!("{name} of {}: {reason}", self.topic)
    }
}
