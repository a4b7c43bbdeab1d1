//! Steps of a validation, counted before it is run.
//!
//! A validator follows all branches of an `anyOf`, each reference again for each of them. So a value and a schema of a few
//! lines can take it longer than anybody waits.

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
    let Some(root) = documents.at(0) else { return Steps::Few };
    let mut open = vec![(root, root, value, 0_usize)];
    let mut steps = 0_usize;
    while let Some((outer, schema, value, depth)) = open.pop() {
        steps = steps.saturating_add(1);
        if steps.saturating_add(open.len()) > limit || depth > MAX_STEPS_DEEP {
            return Steps::Many;
        }
        let depth = depth.saturating_add(1);
        let root = targets.resource(outer, schema);
        let Value::Object(keywords) = schema else {
            open.extend(schema.as_array().into_iter().flatten().map(|schema| (root, schema, value, depth)));
            continue;
        };
        for (keyword, inner) in keywords {
            match (keyword.as_str(), inner) {
                ("$ref" | "$dynamicRef" | "$recursiveRef", Value::String(reference)) => {
                    let mut found = targets.find(documents, root, reference);
                    if !ptr::eq(root, outer) {
                        // Older drafts ignore an address beside a reference.
                        found.extend(targets.find(documents, outer, reference));
                    }
                    if keyword == "$recursiveRef" {
                        found.extend(targets.recursive(documents));
                    }
                    steps = steps.saturating_add(found.len());
                    let known = open.len();
                    let found = found.into_iter().flatten();
                    open.extend(found.map(|Target { resource, schema }| (resource, schema, value, depth)));
                    if open.len() == known {
                        return Steps::Unknown;
                    }
                }
                ("definitions" | "$defs" | "const" | "enum" | "default" | "examples", _) => {}
                ("properties", Value::Object(schemas)) => {
                    let present = schemas
                        .iter()
                        .filter_map(|(name, schema)| Some((root, schema, value.get(name)?, depth)));
                    open.extend(present);
                }
                ("patternProperties" | "dependencies" | "dependentSchemas", Value::Object(schemas)) => {
                    for schema in schemas.values() {
                        open.push((root, schema, value, depth));
                        open.extend(parts(value).map(|part| (root, schema, part, depth)));
                    }
                }
                (
                    "additionalProperties"
                    | "unevaluatedProperties"
                    | "items"
                    | "prefixItems"
                    | "contains"
                    | "additionalItems"
                    | "unevaluatedItems",
                    Value::Object(_) | Value::Array(_),
                ) => open.extend(parts(value).map(|part| (root, inner, part, depth))),
                (_, Value::Object(_) | Value::Array(_)) => open.push((root, inner, value, depth)),
                _ => {}
            }
        }
    }
    Steps::Few
}

fn parts(value: &Value) -> impl Iterator<Item = &Value> {
    let elements = value.as_array().into_iter().flatten();
    elements.chain(value.as_object().into_iter().flat_map(|members| members.values()))
}

/// Schemas within each other that a validation visits, at most: each takes a part of the stack.
const MAX_STEPS_DEEP: usize = 1_000;
