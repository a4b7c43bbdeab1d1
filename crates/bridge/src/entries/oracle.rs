//! Random rights of a client, and a naive oracle of what they grant.

use std::collections::BTreeSet;

use base64::Engine as _;
use http::HeaderMap;
use proptest::prelude::*;
use serde_json::{Value, json};
use sluicegate_backend::System;
use sluicegate_delivery::grant::Grant;
use sluicegate_delivery::testing::script::Script;
use sluicegate_fair_share::ClientKey;
use sluicegate_protocol::metadata;

use crate::clusters::BASE64;
use crate::endpoint::gateway;
use crate::endpoint::identity::Believed;

/// The rights in a gateway's headers.
#[derive(Debug, Clone)]
pub(super) struct Rights {
    read: Option<bool>,
    write: Option<bool>,
    topics: Option<Vec<String>>,
    person: Option<Person>,
}

/// The grants of a route to each person, and one of them.
#[derive(Debug, Clone)]
struct Person {
    /// The claim `sub`; None: the client is anonymous.
    subject: Option<String>,
    /// The claim `team`.
    team: Value,
    /// The claim with capabilities.
    capabilities: Option<Value>,
    read: Option<Vec<Entry>>,
    write: Option<Vec<Entry>>,
}

/// A topic, whether it is only for the teams 0 and 1.5, and its records if they are not all.
type Entry = (&'static str, bool, Option<Only>);

/// The records of an entry.
#[derive(Debug, Clone, Copy)]
enum Only {
    /// Their keys begin so.
    Key(&'static str),
    /// Their header [`HEADER`] is this.
    Header(&'static str),
}

/// The records that an entry grants to one person.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Row {
    All,
    Key(String),
    Header(String),
}

/// The key of all records that are read, and of those that are written.
pub(super) const KEY: &str = "0-1";
/// The header of all records that are read.
const HEADER: (&str, &str) = ("tenant", "0");

impl Person {
    fn any() -> impl Strategy<Value = Self> {
        let subject = prop::sample::select(vec!["0", "00", "1", "5", "1.5", "gone", "*", "", "g"]);
        let team = prop::sample::select(vec![
            json!(null),
            json!(0),
            json!(1.0),
            json!(-1),
            json!("1.5"),
            json!(true),
            json!({"0": "1"}),
            json!(["0", "00", "*", ["gone"]]),
            json!([1, "", null]),
        ]);
        let entry = prop::sample::select(vec![
            "0",
            "1*",
            // Rows decide only where the topic is granted.
            "*",
            "*",
            "*",
            "${sub}",
            "1.${sub}",
            "${sub}.*",
            "x",
            "${team}",
            "1.${team}",
            "${team}.*",
        ]);
        let key = prop::sample::select(vec!["0-", "\"", "x-", "${sub}-", "${team}-"]);
        let header = prop::sample::select(vec!["0", "x", "${sub}", "${team}", "0${team}"]);
        let only = prop::option::of(prop_oneof![key.prop_map(Only::Key), header.prop_map(Only::Header)]);
        let entry = (entry, any::<bool>(), only);
        let entries = || prop::option::weighted(0.8, prop::collection::vec(entry.clone(), 0..3));
        let capabilities = prop::sample::select(vec![
            json!([{"topics": ["0", "1*"], "allow": ["read"]}]),
            json!([{"topics": ["*"], "allow": ["write"]}, {"topics": ["00"], "allow": ["read", "write"]}]),
            json!([]),
            json!([{"topics": ["*"]}]),
            json!({"topics": ["*"], "allow": ["read"]}),
            json!("*"),
        ]);
        let capabilities = prop::option::weighted(0.2, capabilities);
        let subject = prop::option::of(subject.prop_map(str::to_owned));
        (subject, team, capabilities, entries(), entries()).prop_map(
            |(subject, team, capabilities, read, write)| Self { subject, team, capabilities, read, write },
        )
    }

    fn policy(&self) -> Value {
        let identity = json!({"from_gateway": true, "anonymous": true});
        let mut policy = json!({"identity": identity, "claims": {"team": ["team"]}, "capabilities": ["may"]});
        for (right, entries) in [("read", &self.read), ("write", &self.write)] {
            if let Some(entries) = entries {
                let entry = |(topic, is_limited, only): &Entry| {
                    let mut entry = json!({"topic": topic});
                    if *is_limited {
                        entry["when"] = json!({"team": [0, "1.5"]});
                    }
                    match only {
                        Some(Only::Key(prefix)) => entry["only"] = json!({"key_prefix": prefix}),
                        Some(Only::Header(is)) => entry["only"] = json!({"header": HEADER.0, "is": is}),
                        None => {}
                    }
                    entry
                };
                policy[right] = entries.iter().map(entry).collect();
            }
        }
        policy
    }

    /// The records of `topic` that the entries grant to this person.
    fn rows(&self, entries: Option<&Vec<Entry>>, topic: &str) -> BTreeSet<Row> {
        let is_named = |name: &str| name.strip_suffix('*').map_or(name == topic, |it| topic.starts_with(it));
        let is_in_team = self.items(&self.team).iter().any(|team| *team == json!(0) || *team == json!("1.5"));
        let mut rows = BTreeSet::new();
        let entries = entries.into_iter().flatten().filter(|(_, is_limited, _)| !is_limited || is_in_team);
        for (entry, _, only) in entries {
            let (prefix, text) = match only {
                Some(Only::Key(prefix)) => (*prefix, *prefix),
                Some(Only::Header(is)) => ("", *is),
                None => ("", ""),
            };
            // A placeholder that neither has can be anything.
            let values = |claim: &str| match [*entry, text].iter().any(|text| text.contains(claim)) {
                true => self.values(claim),
                false => vec!["any".to_owned()],
            };
            let is_usable = |claim: &str, value: &str| {
                let in_topic = entry.contains(claim).then(|| entry.ends_with('}'));
                let reaches_further = in_topic == Some(false) && value.contains('.')
                    || prefix.contains(claim) && value.contains('-');
                !value.is_empty() && !reaches_further && (in_topic.is_none() || !value.contains('*'))
            };
            for (sub, team) in
                values("sub").iter().flat_map(|sub| values("team").into_iter().map(move |team| (sub, team)))
            {
                let bound = |text: &str| text.replace("${sub}", sub).replace("${team}", &team);
                if is_usable("sub", sub) && is_usable("team", &team) && is_named(&bound(entry)) {
                    rows.insert(match only {
                        None => Row::All,
                        Some(Only::Key(prefix)) => Row::Key(bound(prefix)),
                        Some(Only::Header(is)) => Row::Header(bound(is)),
                    });
                }
            }
        }
        rows
    }

    /// The values of a claim that can be part of a name.
    fn values(&self, claim: &str) -> Vec<String> {
        let value = match (claim, &self.subject) {
            (_, None) => return Vec::new(),
            ("sub", Some(subject)) => return vec![subject.clone()],
            _ => &self.team,
        };
        let text = |item: &Value| match item {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) if number.as_f64()? >= 0.0 => Some(format!("{:.0}", number.as_f64()?)),
            _ => None,
        };
        self.items(value).iter().filter_map(text).collect()
    }

    /// The items of a claim, or the only one. Nobody in particular has none.
    fn items(&self, claim: &Value) -> Vec<Value> {
        if self.subject.is_none() {
            return Vec::new();
        }
        claim.as_array().cloned().unwrap_or_else(|| vec![claim.clone()])
    }

    /// Whether the claim with capabilities leaves this right.
    fn is_capable(&self, right: &str, topic: &str) -> bool {
        let Some(claim) = self.capabilities.as_ref().filter(|_| self.subject.is_some()) else { return true };
        let has = |list: &Value, wanted: &dyn Fn(&str) -> bool| {
            list.as_array().is_some_and(|list| list.iter().any(|item| item.as_str().is_some_and(wanted)))
        };
        claim.as_array().into_iter().flatten().any(|capability| {
            has(&capability["allow"], &|allowed| allowed == right)
                && has(&capability["topics"], &|name| {
                    name.strip_suffix('*').map_or(name == topic, |prefix| topic.starts_with(prefix))
                })
        })
    }
}

impl Rights {
    pub(super) fn any() -> impl Strategy<Value = Self> {
        let pattern = prop::sample::select(vec!["0", "0*", "1", "1*", "1.*", "g*", "gone", "*", "x"]);
        let topics = prop::collection::vec(pattern.prop_map(str::to_owned), 1..4);
        let topics = prop::option::weighted(0.3, topics);
        let flags = (any::<Option<bool>>(), any::<Option<bool>>());
        let person = prop::option::weighted(0.8, Person::any());
        (flags, topics, person).prop_map(|((read, write), topics, person)| Self {
            read,
            write,
            topics,
            person,
        })
    }

    pub(super) async fn grant(&self, system: System) -> Grant {
        let mut headers = HeaderMap::new();
        let flags = [(metadata::READ, self.read), (metadata::WRITE, self.write)];
        for (name, flag) in flags.into_iter().filter_map(|(name, flag)| Some((name, flag?))) {
            headers.insert(name, flag.to_string().parse().unwrap());
        }
        if let Some(topics) = &self.topics {
            headers.insert(metadata::TOPICS, topics.join(",").parse().unwrap());
        }
        if let Some(person) = &self.person {
            headers.insert(metadata::ACCESS, person.policy().to_string().parse().unwrap());
            if let Some(subject) = &person.subject {
                let mut claims = json!({"sub": subject, "team": person.team});
                if let Some(capabilities) = &person.capabilities {
                    claims["may"] = capabilities.clone();
                }
                let claims = BASE64.encode(claims.to_string());
                headers.insert(metadata::IDENTITY, claims.parse().unwrap());
            }
        }
        let mut believed = Believed::default();
        believed.from_gateway = true;
        let admission = gateway::admission(&headers, &believed, None).await.ok().unwrap();
        let (cluster, script) = Script::cluster_of(system, 1 << 20);
        script.mark(KEY, HEADER);
        let grant = Grant::new(cluster, ClientKey::default(), None, admission.rights());
        grant.held(admission.holding(&BTreeSet::new()), admission.aged)
    }

    fn has(&self, topic: &str) -> bool {
        self.topics.as_ref().is_none_or(|patterns| {
            patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
                Some(prefix) => topic.starts_with(prefix),
                None => pattern == topic,
            })
        })
    }

    /// Whether the client can read some records of `topic`.
    pub(super) fn reads(&self, topic: &str) -> bool {
        self.reads_any(topic, |_| true)
    }

    /// Whether the client can read the records of the logs.
    pub(super) fn reads_records(&self, topic: &str) -> bool {
        self.reads_any(topic, |row| match row {
            Row::All => true,
            Row::Key(prefix) => KEY.starts_with(prefix),
            Row::Header(value) => value == HEADER.1,
        })
    }

    fn reads_any(&self, topic: &str, row: impl Fn(&Row) -> bool) -> bool {
        let person = |person: &Person| {
            person.rows(person.read.as_ref(), topic).iter().any(&row) && person.is_capable("read", topic)
        };
        self.read != Some(false) && self.has(topic) && self.person.as_ref().is_none_or(person)
    }

    /// Whether the client can read at all.
    pub(super) fn can_read(&self) -> bool {
        self.read != Some(false) && self.person.as_ref().is_none_or(|person| person.read.is_some())
    }

    /// Whether the client can write records with this key to `topic`. Without a row by key, there must be one header
    /// that they get.
    pub(super) fn writes(&self, topic: &str, key: &str) -> bool {
        let has_row = |rows: &BTreeSet<Row>| {
            let is_there = |row: &Row| match row {
                Row::All => true,
                Row::Key(prefix) => key.starts_with(prefix),
                Row::Header(_) => false,
            };
            let headers = rows.iter().filter(|row| matches!(row, Row::Header(_))).count();
            // A missing topic is told as such before a record is compared.
            rows.iter().any(is_there) || headers == 1 || topic == "gone" && !rows.is_empty()
        };
        let person = |person: &Person| {
            has_row(&person.rows(person.write.as_ref(), topic)) && person.is_capable("write", topic)
        };
        self.write == Some(true) && self.has(topic) && self.person.as_ref().is_none_or(person)
    }
}
