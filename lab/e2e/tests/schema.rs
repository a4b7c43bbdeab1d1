//! Documents such as OpenAPI's or AsyncAPI's, whose parts tests have to see: answers to requests, or messages.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use jsonschema::Validator;
use serde_json::{Value, json};

/// A document's parts, by name.
pub(crate) struct Document<P> {
    pub(crate) parts: BTreeMap<String, P>,
    seen: Mutex<BTreeSet<String>>,
}

impl<P> FromIterator<(String, P)> for Document<P> {
    fn from_iter<T: IntoIterator<Item = (String, P)>>(parts: T) -> Self {
        Self { parts: parts.into_iter().collect(), seen: Mutex::default() }
    }
}

impl<P> Document<P> {
    /// Notes that a part was seen.
    pub(crate) fn see(&self, part: &str) {
        self.seen.lock().unwrap().insert(part.to_owned());
    }

    /// Expects that each part was seen, but for those of which `elsewhere` says so.
    pub(crate) fn assert_all_seen(&self, elsewhere: impl Fn(&str) -> bool) {
        let seen = self.seen.lock().unwrap();
        let missing = self.parts.keys().filter(|part| !seen.contains(*part) && !elsewhere(part));
        assert_eq!(missing.collect::<Vec<_>>(), [""; 0], "documented, and never seen");
    }
}

/// Parses a document.
pub(crate) fn parse(yaml: &str) -> Value {
    serde_saphyr::from_str(yaml).unwrap()
}

/// The members of an object.
pub(crate) fn members(object: &Value) -> impl Iterator<Item = (&String, &Value)> {
    object.as_object().into_iter().flatten()
}

/// The value, or the one that it refers to.
pub(crate) fn resolve<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(reference) => document.pointer(reference.trim_start_matches('#')).unwrap(),
        None => value,
    }
}

/// A validator for one schema, whose references begin at the document's root.
pub(crate) fn validator(document: &Value, schema: &Value) -> Validator {
    let schema = json!({"allOf": [schema], "components": document["components"]});
    jsonschema::validator_for(&schema).unwrap()
}
