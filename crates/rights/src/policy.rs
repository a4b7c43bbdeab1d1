//! The policy of a route: which claims a person needs for which topics.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::capabilities;
use crate::claims::{Claims, Path, REGISTERED};
use crate::entry::Entry;
use crate::only::Only;
use crate::placeholders::{did_you_mean, is_claim_name, meant};
use crate::quota::Quota;
use crate::rights::Rights;
use crate::row::Row;
use crate::topics::Pattern;

/// The rights that a route grants to each person. Its JSON is what a gateway tells the bridge.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// How clients show who they are. None: they do not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// The claims that entries use beside [`REGISTERED`], by the names that they use.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub claims: BTreeMap<String, Path>,
    /// The topics that clients can read. None: they cannot read at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read: Option<Vec<Entry>>,
    /// The topics that clients can write to. None: they cannot write at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write: Option<Vec<Entry>>,
    /// The groups in which clients can consume. None: in none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consume: Option<Vec<Entry>>,
    /// The claim with capabilities, which narrow the entries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Path>,
    /// The most that each person can have and do.
    #[serde(skip_serializing_if = "Quota::is_default")]
    pub quota: Quota,
}

/// How clients of a route show who they are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Identity {
    /// Whether the gateway tells the claims.
    #[serde(skip_serializing_if = "is_false")]
    pub from_gateway: bool,
    /// The name of the bridge's `[identity.NAME]`, which verifies tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Whether clients without an identity are admitted.
    #[serde(skip_serializing_if = "is_false")]
    pub anonymous: bool,
}

/// A part of a policy that does not fit the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The member at fault.
    pub member: Cow<'static, str>,
    /// The expected form.
    pub reason: String,
}

/// The grant of an entry to a person: topics, and the records of each; None: all of them.
pub type Outcome = Result<Vec<(Pattern, Option<Row>)>, NotGranted>;

/// Why an entry grants nothing to a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotGranted {
    /// Its condition is not met.
    Condition,
    /// One of its claims has no usable value, or there are too many.
    Claims,
    /// The person has too many topics.
    Room,
}

impl NotGranted {
    /// The reason for operators.
    pub fn text(self) -> &'static str {
        match self {
            Self::Condition => "its `when` is not met",
            Self::Claims => "a claim that it uses is missing, cannot stand there, or has too many values",
            Self::Room => "the topics of this person exceed 32 KiB",
        }
    }
}

impl Policy {
    /// Parses and checks a policy.
    ///
    /// # Errors
    /// It is invalid: the reason.
    pub fn parse(json: &[u8]) -> Result<Self, String> {
        // A list is not an object without names, as serde would have it.
        let object: Map<String, Value> = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        let policy = Self::deserialize(Value::Object(object)).map_err(|error| error.to_string())?;
        policy.check().map_err(|mistake| format!("{}: {}", mistake.member, mistake.reason))?;
        Ok(policy)
    }

    /// The policy as JSON, which [`Policy::parse`] reads.
    pub fn to_json(&self) -> String {
        // A policy has no map with other keys than strings, so this cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Checks that its parts fit together.
    ///
    /// # Errors
    /// They do not: the reason.
    pub fn check(&self) -> Result<(), Mistake> {
        let mistake = |member: &'static str, reason: String| Err(Mistake { member: member.into(), reason });
        for (name, path) in &self.claims {
            if REGISTERED.contains(&name.as_str()) {
                return mistake("claims", format!("{name} is the identity's own claim, choose another name"));
            }
            if !is_claim_name(name) || !is_path(path) {
                let expected = "must have names of letters, digits and '_', and paths of 1 to 8 names";
                return mistake("claims", expected.to_owned());
            }
        }
        if self.capabilities.as_ref().is_some_and(|path| !is_path(path)) {
            return mistake("capabilities", "must be the path of a claim, 1 to 8 names".to_owned());
        }
        let entries = || self.read.iter().chain(&self.write).chain(&self.consume).flatten();
        if entries().count() > MAX_ENTRIES {
            let expected = format!("must have at most {MAX_ENTRIES} entries for all rights together");
            return mistake("topics", expected);
        }
        let is_known = |name: &str| REGISTERED.contains(&name) || self.claims.contains_key(name);
        // Keys, headers and subjects can have these characters, but hardly the name of a claim between them.
        for (right, entries) in [("read", &self.read), ("write", &self.write)] {
            for (index, entry) in entries.iter().flatten().enumerate() {
                let mut literals = entry.only.iter().flat_map(Only::literals);
                if let Some(claim) = literals.find_map(|literal| meant(literal, is_known)) {
                    let member = format!("{right}[{index}].only").into();
                    return Err(Mistake { member, reason: did_you_mean(claim) });
                }
            }
        }
        if self.consume.iter().flatten().any(|entry| entry.only.is_some()) {
            return mistake("consume", "must have no `only`: groups have no records".to_owned());
        }
        for name in entries().flat_map(Entry::claims) {
            if self.identity.is_none() {
                return mistake("identity", format!("is missing, and entries use the claim {name}"));
            }
            if !is_known(name) {
                return mistake("claims", format!("has no {name}, which an entry uses"));
            }
        }
        if self.identity.is_none() && self.capabilities.is_some() {
            return mistake("identity", "is missing, and capabilities need it".to_owned());
        }
        if self.identity.is_none() && !self.quota.is_default() {
            return mistake("identity", "is missing, and a quota needs it".to_owned());
        }
        Ok(())
    }

    /// The paths of all claims that it uses.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.claims.values().chain(&self.capabilities)
    }

    /// The rights of a person with these claims; None: of nobody in particular.
    pub fn rights(&self, claims: Option<&Claims>) -> Rights {
        let nobody = Claims::default();
        let claims = claims.unwrap_or(&nobody);
        self.granted(claims).and(self.left(claims))
    }

    /// The rights that the entries grant, before capabilities narrow them.
    pub fn granted(&self, claims: &Claims) -> Rights {
        let topics = |entries: &Option<Vec<Entry>>| {
            let outcomes = self.outcomes(entries.as_ref()?, claims);
            Some(outcomes.into_iter().filter_map(|(_, outcome)| outcome.ok()).flatten().collect())
        };
        Rights { read: topics(&self.read), write: topics(&self.write), consume: topics(&self.consume) }
    }

    /// The most that capabilities leave.
    pub fn left(&self, claims: &Claims) -> Rights {
        self.capabilities.as_ref().map_or_else(Rights::all, |path| capabilities::rights(claims.at(path)))
    }

    /// The topics that each entry grants, as long as all fit into [`MAX_TOPICS_BYTES`]; or why it grants none.
    pub fn outcomes<'a>(&self, entries: &'a [Entry], claims: &Claims) -> Vec<(&'a Entry, Outcome)> {
        let value = |name: &str| match self.claims.get(name) {
            Some(path) => claims.at(path),
            None => claims.at(&[name.to_owned()]),
        };
        let mut room = MAX_TOPICS_BYTES;
        let mut outcome = |entry: &Entry| {
            if !entry.when.as_ref().is_none_or(|when| when.is_met(value)) {
                return Err(NotGranted::Condition);
            }
            let expanded = entry.expand(value);
            if expanded.is_empty() {
                return Err(NotGranted::Claims);
            }
            let memory = |(pattern, row): &(Pattern, Option<Row>)| {
                pattern.memory().saturating_add(row.as_ref().map_or(0, Row::memory))
            };
            let bytes = expanded.iter().map(memory).fold(0, usize::saturating_add);
            room = room.checked_sub(bytes).ok_or(NotGranted::Room)?;
            Ok(expanded)
        };
        entries.iter().map(|entry| (entry, outcome(entry))).collect()
    }
}

fn is_path(path: &Path) -> bool {
    (1..=8).contains(&path.len())
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// The entries of a policy, at most.
const MAX_ENTRIES: usize = 200;

/// The topics that one person can read, or write to, in bytes of memory. An entry that does not fit grants nothing.
pub const MAX_TOPICS_BYTES: usize = 32 * 1024;

#[cfg(test)]
mod tests;
