//! The schemas of a document such as OpenAPI's or AsyncAPI's.

use jsonschema::Validator;
use serde_json::{Value, json};

/// Parses a document.
pub(crate) fn document(yaml: &str) -> Value {
    serde_saphyr::from_str(yaml).unwrap()
}

/// A validator for one schema, whose references begin at the document's root.
pub(crate) fn validator(document: &Value, schema: &Value) -> Validator {
    let schema = json!({"allOf": [schema], "components": document["components"]});
    jsonschema::validator_for(&schema).unwrap()
}
