//! Steps of a validation, counted before it is run.
//!
//! A validator follows all branches of an `anyOf`, each reference again for each of them, and each branch once more to find
//! out which parts of a value are evaluated. So a value and a schema of a few lines can take it longer than anybody waits.

use std::ptr;

use serde_json::Value;

use super::Documents;
use super::targets::{Target, Targets};

/// The number of steps of a validation: visits of a schema to a part of the value.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Steps {
    /// At most the limit, also if the validator looks for all errors.
    Few,
    /// More than the limit, unless it ends early, or more within each other than a stack holds.
    Many,
    /// Not known: a reference is to a schema that is not among the documents, such as a draft's own.
    Unknown,
}

/// Counts steps up to `limit`, from the first of the documents on.
pub(super) fn count(documents: &Documents, targets: &Targets, value: &Value, limit: usize) -> Steps {
    let Some(schema) = documents.at(0) else { return Steps::Few };
    let visit = Visit { outer: schema, schema, value: Some(value), marks: false, depth: 0 };
    steps(documents, targets, vec![visit], limit)
}

/// Counts steps of a compilation beyond those that the schema's size bounds: below each `unevaluatedProperties` and
/// `unevaluatedItems`, branches and references are compiled once more.
pub(super) fn count_compilation(documents: &Documents, targets: &Targets, limit: usize) -> Steps {
    let documents_of_all = (0..).map_while(|document| documents.at(document));
    let mut all: Vec<_> = documents_of_all.map(|document| (document, document)).collect();
    let (mut at, mut open) = (0_usize, Vec::new());
    while let Some((outer, schema)) = all.get(at).copied() {
        at = at.saturating_add(1);
        let unevaluated = UNEVALUATED.iter().filter(|keyword| schema.get(keyword).is_some());
        open.extend(unevaluated.map(|_| Visit { outer, schema, value: None, marks: true, depth: 0 }));
        let outer = targets.resource(outer, schema);
        all.extend(
            parts(schema).filter(|part| part.is_object() || part.is_array()).map(|part| (outer, part)),
        );
    }
    steps(documents, targets, open, limit)
}

fn steps<'a>(documents: &'a Documents, targets: &Targets, mut open: Vec<Visit<'a>>, limit: usize) -> Steps {
    let (mut steps, mut result) = (0_usize, Steps::Few);
    while let Some(visit) = open.pop() {
        steps = steps.saturating_add(visit.cost());
        if steps.saturating_add(open.len()) > limit || visit.depth > MAX_STEPS_DEEP {
            return Steps::Many;
        }
        let root = targets.resource(visit.outer, visit.schema);
        let inner = Visit { outer: root, depth: visit.depth.saturating_add(1), ..visit };
        let Value::Object(keywords) = visit.schema else {
            visit.schema.as_array().into_iter().flatten().for_each(|schema| inner.branch(schema, &mut open));
            continue;
        };
        for (keyword, value) in keywords {
            match (keyword.as_str(), value) {
                ("$ref" | "$dynamicRef" | "$recursiveRef", Value::String(reference)) => {
                    let mut found = targets.find(documents, root, reference);
                    if !ptr::eq(root, visit.outer) {
                        // Older drafts ignore an address beside a reference.
                        found.extend(targets.find(documents, visit.outer, reference));
                    }
                    if keyword == "$recursiveRef" {
                        found.extend(targets.recursive(documents));
                    }
                    steps = steps.saturating_add(found.len());
                    let known = open.len();
                    let found = found.into_iter().flatten();
                    open.extend(found.map(|Target { resource, schema }| Visit {
                        outer: resource,
                        schema,
                        ..inner
                    }));
                    if open.len() == known {
                        result = Steps::Unknown;
                    }
                }
                _ => inner.keyword(keyword, value, &mut open),
            }
        }
    }
    result
}

/// A schema, or a list of them, that is tried on a value.
#[derive(Clone, Copy)]
struct Visit<'a> {
    /// The schema with an address around this one.
    outer: &'a Value,
    schema: &'a Value,
    /// None: it is compiled.
    value: Option<&'a Value>,
    /// Whether this finds the parts that it evaluates, after they were found valid.
    marks: bool,
    depth: usize,
}

impl<'a> Visit<'a> {
    /// Marking looks at the names of all parts.
    fn cost(&self) -> usize {
        if self.marks { self.parts().count().saturating_add(1) } else { 1 }
    }

    /// A keyword other than a reference.
    fn keyword(&self, keyword: &str, inner: &'a Value, open: &mut Vec<Self>) {
        match (keyword, inner) {
            ("definitions" | "$defs" | "const" | "enum" | "default" | "examples", _) => {}
            ("unevaluatedProperties" | "unevaluatedItems", _) => {
                if !self.marks {
                    open.push(Self { marks: true, ..*self });
                }
                self.each_part(inner, open);
            }
            ("contains", _) => self.each_part(inner, open),
            ("dependentSchemas", Value::Object(schemas)) => {
                open.extend(schemas.values().map(|schema| self.of(schema)))
            }
            ("allOf" | "anyOf" | "oneOf", Value::Array(_)) => open.push(self.of(inner)),
            ("if" | "then" | "else", _) => self.branch(inner, open),
            _ if self.marks => {}
            ("properties", Value::Object(schemas)) => {
                let present =
                    schemas.iter().filter_map(|(name, schema)| Some((schema, self.value?.get(name)?)));
                open.extend(present.map(|(schema, value)| Self { value: Some(value), ..self.of(schema) }));
            }
            ("patternProperties" | "dependencies", Value::Object(schemas)) => {
                for schema in schemas.values() {
                    open.push(self.of(schema));
                    self.each_part(schema, open);
                }
            }
            ("additionalProperties" | "items" | "prefixItems" | "additionalItems" | "propertyNames", _) => {
                self.each_part(inner, open);
            }
            (_, Value::Object(_) | Value::Array(_)) => open.push(self.of(inner)),
            _ => {}
        }
    }

    /// A schema for the same value, which marks only if it is valid.
    fn branch(&self, schema: &'a Value, open: &mut Vec<Self>) {
        open.push(Self { marks: false, ..self.of(schema) });
        if self.marks {
            open.push(self.of(schema));
        }
    }

    fn each_part(&self, schema: &'a Value, open: &mut Vec<Self>) {
        if schema.is_object() || schema.is_array() {
            open.extend(self.parts().map(|part| Self { value: Some(part), marks: false, ..self.of(schema) }));
        }
    }

    fn of(&self, schema: &'a Value) -> Self {
        Self { schema, ..*self }
    }

    fn parts(&self) -> impl Iterator<Item = &'a Value> + use<'a> {
        self.value.into_iter().flat_map(parts)
    }
}

fn parts(value: &Value) -> impl Iterator<Item = &Value> {
    let elements = value.as_array().into_iter().flatten();
    elements.chain(value.as_object().into_iter().flat_map(|members| members.values()))
}

/// Keywords that look for the parts that other keywords evaluated (JSON Schema 2020-12, section 11).
const UNEVALUATED: [&str; 2] = ["unevaluatedProperties", "unevaluatedItems"];

/// Schemas within each other that a validation visits, at most: each takes a part of the stack.
const MAX_STEPS_DEEP: usize = 1_000;
