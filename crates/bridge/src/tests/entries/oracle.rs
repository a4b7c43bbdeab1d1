//! Random rights of a client, in a gateway's headers and as `crates/rights` grants them, whose own tests compare that
//! with a naive reading.

use std::collections::{BTreeSet, HashSet};

use base64::Engine as _;
use http::{HeaderMap, HeaderName};
use proptest::prelude::*;
use serde_json::{Value, json};
use sluicegate_backend::System;
use sluicegate_delivery::grant::Grant;
use sluicegate_delivery::testing::script::Script;
use sluicegate_fair_share::ClientKey;
use sluicegate_protocol::metadata;
use sluicegate_rights::row::Marks;
use sluicegate_rights::{self as rights, Claims, Policy, Row, Topics};

use crate::clusters::BASE64;
use crate::endpoint::gateway;
use crate::endpoint::identity::Believed;

/// The rights in a gateway's headers.
#[derive(Debug, Clone)]
pub(super) struct Rights {
    read: Option<bool>,
    write: Option<bool>,
    topics: Option<String>,
    consume: Option<String>,
    person: Option<Person>,
}

/// The grants of a route to each person, and one of them.
#[derive(Debug, Clone)]
struct Person {
    /// The claim `sub`; None: the client is anonymous.
    subject: Option<&'static str>,
    policy: Value,
}

/// The key of all records that are read, and of those that are written.
pub(super) const KEY: &str = "0-1";
/// The header of all records that are read.
const HEADER: (&str, &str) = ("tenant", "0");

impl Person {
    fn any() -> impl Strategy<Value = Self> {
        let subject = prop::option::of(prop::sample::select(vec!["0", "00", "1", "1.5", "gone", "*", ""]));
        // Rows decide only where the topic is granted.
        let topic =
            prop::sample::select(vec!["0", "1*", "*", "*", "*", "${sub}", "1.${sub}", "${sub}.*", "x"]);
        let by_key = |prefix: &str| json!({"key_prefix": prefix});
        let by_header = |is: &str| json!({"header": HEADER.0, "is": is});
        let keys = ["0-", "\"", "x-", "${sub}-"].map(by_key);
        let only = keys.into_iter().chain(["0", "x", "${sub}", "0${sub}"].map(by_header));
        let only = prop::option::of(prop::sample::select(only.collect::<Vec<_>>()));
        let entry = (topic, only).prop_map(|(topic, only)| match only {
            None => json!({"topic": topic}),
            Some(only) => json!({"topic": topic, "only": only}),
        });
        let entries = || prop::option::weighted(0.8, prop::collection::vec(entry.clone(), 0..3));
        (subject, [entries(), entries(), entries()]).prop_map(|(subject, [read, write, mut consume])| {
            let mut policy = json!({"identity": {"from_gateway": true, "anonymous": true}});
            // Groups have no rows.
            for entry in consume.iter_mut().flatten() {
                entry.as_object_mut().unwrap().remove("only");
            }
            for (right, entries) in [("read", read), ("write", write), ("consume", consume)] {
                if let Some(entries) = entries {
                    policy[right] = entries.into();
                }
            }
            Self { subject, policy }
        })
    }

    fn claims(&self) -> Option<String> {
        Some(json!({"sub": self.subject?}).to_string())
    }
}

/// A record.
struct Marked(&'static str, Option<(&'static str, &'static str)>);

impl Marks for Marked {
    fn key(&self) -> Option<&[u8]> {
        Some(self.0.as_bytes())
    }

    fn headers(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.1.iter().map(|(name, value)| (name.as_bytes(), Some(value.as_bytes())))
    }
}

impl Rights {
    pub(super) fn any() -> impl Strategy<Value = Self> {
        let pattern = prop::sample::select(vec!["0", "0*", "1", "1*", "1.*", "g*", "gone", "*", "x"]);
        let topics = prop::collection::vec(pattern, 1..4).prop_map(|patterns| patterns.join(","));
        let groups = prop::option::weighted(0.8, topics.clone());
        let topics = prop::option::weighted(0.3, topics);
        let flags = (any::<Option<bool>>(), any::<Option<bool>>());
        let person = prop::option::weighted(0.8, Person::any());
        let all = (flags, topics, groups, person);
        all.prop_map(|((read, write), topics, consume, person)| Self { read, write, topics, consume, person })
    }

    pub(super) async fn grant(&self, system: System) -> Grant {
        let mut headers = HeaderMap::new();
        let claims = self.person.as_ref().and_then(Person::claims);
        for (name, value) in [
            (metadata::READ, self.read.map(|flag| flag.to_string())),
            (metadata::WRITE, self.write.map(|flag| flag.to_string())),
            (metadata::TOPICS, self.topics.clone()),
            (metadata::CONSUME, self.consume.clone()),
            (metadata::ACCESS, self.person.as_ref().map(|person| person.policy.to_string())),
            (metadata::IDENTITY, claims.map(|claims| BASE64.encode(claims))),
        ] {
            headers.extend(value.map(|value| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())));
        }
        let mut believed = Believed::default();
        believed.from_gateway = true;
        let admission = gateway::admission(&headers, &believed, None).await.ok().unwrap();
        let (cluster, script) = Script::cluster_of(system, 1 << 20);
        script.mark(KEY, HEADER);
        let grant = Grant::new(cluster, ClientKey::default(), None, admission.rights());
        grant.held(admission.holding(&BTreeSet::new()), admission.aged)
    }

    fn granted(&self) -> rights::Rights {
        let listed = |text: &String| Topics::parse(text.as_bytes()).unwrap();
        let topics = self.topics.as_ref().map_or_else(Topics::default, listed);
        let read = (self.read != Some(false)).then(|| topics.clone());
        let route = rights::Rights {
            read,
            write: (self.write == Some(true)).then_some(topics),
            consume: self.consume.as_ref().map(listed),
        };
        let Some(person) = &self.person else { return route };
        let claims = person.claims().map(|claims| Claims::parse(claims.as_bytes()).unwrap());
        route.and(Policy::parse(person.policy.to_string().as_bytes()).unwrap().rights(claims.as_ref()))
    }

    /// Whether the client can read some records of `topic`.
    pub(super) fn reads(&self, topic: &str) -> bool {
        self.granted().reads(topic)
    }

    /// Whether the client can read the records of the logs.
    pub(super) fn reads_records(&self, topic: &str) -> bool {
        let rows = self.granted().read.and_then(|topics| topics.rows(topic));
        rows.is_some_and(|rows| rows.have(&Marked(KEY, Some(HEADER))))
    }

    /// Whether the client can be a member of a group.
    pub(super) fn consumes(&self, group: &str) -> bool {
        self.granted().consume.is_some_and(|groups| groups.contains(group))
    }

    /// Whether the client can read at all.
    pub(super) fn can_read(&self) -> bool {
        self.granted().read.is_some()
    }

    /// Whether the client can write records with this key to `topic`. Without a row by key, there must be one header
    /// that they get.
    pub(super) fn writes(&self, topic: &str, key: &'static str) -> bool {
        let rows = self.granted().write.and_then(|topics| topics.rows(topic));
        rows.is_some_and(|rows| {
            let rows_by_header = rows
                .groups()
                .flatten()
                .filter(|row| matches!(***row, Row::Header { .. }))
                .collect::<HashSet<_>>();
            // A missing topic is told as such before a record is compared.
            rows.have(&Marked(key, None)) || rows_by_header.len() == 1 || topic == "gone"
        })
    }
}
