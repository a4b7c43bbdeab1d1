//! An entry of a policy: topics, the people whom it applies to, and the records that it grants.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::condition::Condition;
use crate::only::Only;
use crate::placeholders::texts;
use crate::row::Row;
use crate::template::Template;
use crate::topics::Pattern;

/// A topic, a prefix of topics, or one for each person, and to whom it applies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The topics.
    pub topic: Template,
    /// None: it applies to everybody.
    #[serde(default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub when: Option<Condition>,
    /// None: it grants all records.
    #[serde(default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub only: Option<Only>,
}

impl From<Template> for Entry {
    fn from(topic: Template) -> Self {
        Self { topic, when: None, only: None }
    }
}

impl Entry {
    /// The names of the claims that it uses.
    pub fn claims(&self) -> impl Iterator<Item = &str> {
        self.expanded_claims().chain(self.when.iter().flat_map(Condition::claims))
    }

    /// Whether it grants all records of its topics to everybody.
    pub fn is_plain(&self) -> bool {
        self.claims().next().is_none() && self.only.is_none()
    }

    /// The topics for the values of claims and their records, one for each combination of the values in lists: none if a
    /// claim has no usable value, or if there are more than [`MAX_EXPANSIONS`]. None of the records: all.
    pub(crate) fn expand<'a>(
        &self,
        value: impl Fn(&str) -> Option<&'a Value>,
    ) -> Vec<(Pattern, Option<Row>)> {
        let mut claims: Vec<&str> = Vec::new();
        for claim in self.expanded_claims() {
            if !claims.contains(&claim) {
                claims.push(claim);
            }
        }
        let usable = |claim: &&str| -> Vec<Cow<'a, str>> {
            let is_usable = |text: &Cow<'_, str>| {
                self.topic.admits(claim, text) && self.only.iter().all(|only| only.admits(claim, text))
            };
            texts(value(claim)).filter(is_usable).collect()
        };
        let values: Vec<_> = claims.iter().map(usable).collect();
        if values.iter().map(Vec::len).fold(1, usize::saturating_mul) > MAX_EXPANSIONS {
            return Vec::new();
        }
        let mut combinations: Vec<Vec<&str>> = vec![Vec::new()];
        for values in &values {
            let each = combinations.iter().flat_map(|bound| values.iter().map(move |value| (bound, value)));
            combinations = each.map(|(bound, value)| [&bound[..], &[value]].concat()).collect();
        }
        let bind = |values: &Vec<&str>| {
            let value = |claim: &str| {
                let at = claims.iter().position(|other| *other == claim)?;
                values.get(at).copied()
            };
            let topic = self.topic.bind(value)?;
            match &self.only {
                None => Some((topic, None)),
                Some(only) => Some((topic, Some(only.bind(value)?))),
            }
        };
        combinations.iter().filter_map(bind).collect()
    }

    fn expanded_claims(&self) -> impl Iterator<Item = &str> {
        self.topic.claims().chain(self.only.iter().flat_map(Only::claims))
    }
}

/// A value that is not null: what a template of a configuration leaves empty must not grant everything.
fn some<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// The topics of one entry, at most. An entry with more grants nothing.
pub const MAX_EXPANSIONS: usize = 256;
