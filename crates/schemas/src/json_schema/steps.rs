//! Steps of a validation, counted before it is run.
//!
//! A validator follows all branches of an `anyOf`, each reference again for each of them. So a value and a schema of a few
//! lines can take it longer than anybody waits.

use serde_json::Value;

/// The number of steps of a validation: visits of a schema to a part of the value.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Steps {
    /// At most the limit, also if the validator looks for all errors.
    Few,
    /// More than the limit, unless it ends early, or more within each other than a stack holds.
    Many,
    /// Not known: the schema has references by `$id`, `$anchor` or `$dynamicRef`.
    Unknown,
}

/// Counts steps up to `limit`. `find` finds a document by the part of a `$ref` in front of `#`.
pub(super) fn count<'a>(
    root: &'a Value,
    find: impl Fn(&str) -> Option<&'a Value>,
    value: &Value,
    limit: usize,
) -> Steps {
    let mut open = vec![(root, root, value, 0_usize)];
    let (mut steps, mut unknown) = (0_usize, false);
    while let Some((root, schema, value, depth)) = open.pop() {
        steps = steps.saturating_add(1);
        if steps.saturating_add(open.len()) > limit || depth > MAX_STEPS_DEEP {
            return Steps::Many;
        }
        let depth = depth.saturating_add(1);
        let Value::Object(keywords) = schema else {
            open.extend(schema.as_array().into_iter().flatten().map(|schema| (root, schema, value, depth)));
            continue;
        };
        for (keyword, inner) in keywords {
            match (keyword.as_str(), inner) {
                ("$ref", Value::String(target)) => {
                    let (name, pointer) = target.split_once('#').unwrap_or((target, ""));
                    let root = if name.is_empty() { Some(root) } else { find(name) };
                    match root.and_then(|root| Some((root, root.pointer(pointer)?))) {
                        Some((root, target)) => open.push((root, target, value, depth)),
                        None => unknown = true,
                    }
                }
                ("$dynamicRef" | "$recursiveRef", _) => unknown = true,
                ("$id" | "id", Value::String(_)) => unknown |= !std::ptr::eq(schema, root),
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
    if unknown { Steps::Unknown } else { Steps::Few }
}

fn parts(value: &Value) -> impl Iterator<Item = &Value> {
    let elements = value.as_array().into_iter().flatten();
    elements.chain(value.as_object().into_iter().flat_map(|members| members.values()))
}

/// Schemas within each other that a validation visits, at most: each takes a part of the stack.
const MAX_STEPS_DEEP: usize = 1_000;
