//! JSON Schema: values that are JSON, with the schema's opinion of them.

mod steps;
mod targets;

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use jsonschema::error::ValidationErrorKind;
use jsonschema::{Draft, PatternOptions, ReferencingError, Retrieve, Uri, ValidationError, Validator};
use serde::de::IgnoredAny;
use serde_json::Value;

use self::steps::Steps;
use self::targets::Targets;
use crate::json::{Shape, shortened, too_large};
use crate::{DecodeError, EncodeError, MAX_REFERENCES, MAX_SCHEMA_BYTES, Reference, SchemaError};

/// A schema that validates values. `$schema` decides its draft (4 to 2020-12); without one, or with one of one's own,
/// it is draft 7, as for Confluent's serializers.
pub struct Schema {
    validator: Validator,
    documents: Arc<Documents>,
    targets: Targets,
}

impl Schema {
    /// Compiles a schema. A `$ref` to another document finds the reference of that name or `$id`, and nothing else: no
    /// document is fetched or read.
    ///
    /// # Errors
    ///
    /// Text that is not a JSON Schema of its draft, documents that are missing, and texts, references or regular
    /// expressions beyond the bounds; also more than 100,000 schemas that `unevaluatedProperties` and `unevaluatedItems`
    /// look at, each as often as branches and references lead to it. Regular expressions take time in proportion to a value, so they have no
    /// look-around and no back-references.
    pub fn parse(text: &str, references: &[Reference]) -> Result<Self, SchemaError> {
        if references.len() > MAX_REFERENCES {
            return Err(SchemaError(format!("more than {MAX_REFERENCES} references")));
        }
        let schema = document("the schema", text)?;
        let mut documents = vec![(BASE.to_owned(), schema.clone())];
        for Reference { name, schema } in references {
            documents.push((name.clone(), document(name, schema)?));
        }
        let mut parts = Parts::default();
        documents.iter().for_each(|(_, document)| parts.add(document));
        if parts.references > MAX_REFS {
            return Err(SchemaError(format!("more than {MAX_REFS} $ref")));
        }
        let bytes = MAX_PATTERN_BYTES
            .min(MAX_PATTERNS_BYTES.checked_div(parts.patterns).unwrap_or(MAX_PATTERN_BYTES));
        let documents = Arc::new(Documents(documents));
        let draft = match Draft::Draft7.detect(&schema) {
            Draft::Unknown => Draft::Draft7,
            draft => draft,
        };
        let targets = Targets::of(&documents, draft == Draft::Draft4);
        if targets.are_too_many() {
            return Err(SchemaError("more than 16 MiB of places of $id and $anchor".to_owned()));
        }
        if steps::count_compilation(&documents, &targets, STEPS) == Steps::Many {
            let text = "schemas below unevaluatedProperties and unevaluatedItems";
            return Err(SchemaError(format!("more than {STEPS} {text}")));
        }
        let validator = jsonschema::options()
            .with_draft(draft)
            .with_base_uri(BASE)
            .with_pattern_options(PatternOptions::regex().size_limit(bytes).dfa_size_limit(bytes))
            .with_retriever(Retriever::of(documents.clone(), text, references))
            .build(&schema)
            .map_err(|error| invalid(&error))?;
        Ok(Self { validator, documents, targets })
    }

    /// Appends a value as it was written. Only its form is checked: its writer validated it.
    ///
    /// # Errors
    ///
    /// Bytes that are not one JSON value in UTF-8, or are larger than `max_json` or deeper than
    /// [`MAX_DEPTH`](crate::MAX_DEPTH); then `out` is as before.
    pub fn decode(&self, bytes: &[u8], max_json: usize, out: &mut Vec<u8>) -> Result<(), DecodeError> {
        if bytes.len() > max_json {
            return Err(DecodeError(too_large(max_json)));
        }
        if let Some(error) = Shape::of(bytes).too_deep() {
            return Err(DecodeError(error));
        }
        let json = str::from_utf8(bytes).map_err(|error| DecodeError(format!("expected JSON: {error}")))?;
        serde_json::from_str::<IgnoredAny>(json)
            .map_err(|error| DecodeError(shortened(format!("expected JSON: {error}"))))?;
        out.extend(bytes);
        Ok(())
    }

    /// Validates a value and appends it as it is written.
    ///
    /// # Errors
    ///
    /// Bytes that are not one JSON value of at most [`MAX_DEPTH`](crate::MAX_DEPTH) levels, and the first part of the
    /// value that the schema does not allow; then `out` is as before. Values are refused too if it takes more than 100,000
    /// steps to validate them, and 100 for each of their parts, and if a reference that they need is to a draft's own schema.
    pub fn encode(&self, json: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let whole = |expected| EncodeError { path: String::new(), expected };
        let shape = Shape::of(json);
        if let Some(error) = shape.too_deep() {
            return Err(whole(error));
        }
        let value: Value = serde_json::from_slice(json)
            .map_err(|error| whole(shortened(format!("expected JSON: {error}"))))?;
        let limit = shape.parts.saturating_mul(STEPS_FOR_A_PART).saturating_add(STEPS);
        match steps::count(&self.documents, &self.targets, &value, limit) {
            Steps::Few => self.validator.validate(&value).map_err(|error| refused(&error))?,
            Steps::Many => {
                return Err(whole(format!("expected at most {limit} steps to validate the value")));
            }
            Steps::Unknown => {
                return Err(whole(
                    "expected a schema without references to the schema of a draft".to_owned(),
                ));
            }
        }
        out.extend(json);
        Ok(())
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schema").finish_non_exhaustive()
    }
}

fn invalid(error: &ValidationError<'_>) -> SchemaError {
    let text = match error.kind() {
        ValidationErrorKind::Referencing(ReferencingError::Unretrievable { uri, .. }) => {
            format!("{} is not among the references", uri.trim_start_matches(BASE))
        }
        _ => error.to_string(),
    };
    SchemaError(shortened(format!("invalid JSON Schema: {text}")))
}

fn refused(error: &ValidationError<'_>) -> EncodeError {
    EncodeError {
        path: error.instance_path().as_str().to_owned(),
        expected: shortened(format!("expected what the schema allows: {}", error.masked())),
    }
}

fn document(name: &str, text: &str) -> Result<Value, SchemaError> {
    if text.len() > MAX_SCHEMA_BYTES {
        return Err(SchemaError(format!("{name} has more than {MAX_SCHEMA_BYTES} bytes")));
    }
    serde_json::from_str(text).map_err(|error| SchemaError(shortened(format!("{name} is not JSON: {error}"))))
}

/// Parts of a schema that cost more than their bytes.
#[derive(Default)]
struct Parts {
    /// Regular expressions, at most.
    patterns: usize,
    /// References, at most.
    references: usize,
}

impl Parts {
    /// Adds those of a schema, whose depth is that of `serde_json`: 128.
    fn add(&mut self, schema: &Value) {
        match schema {
            Value::Array(elements) => elements.iter().for_each(|element| self.add(element)),
            Value::Object(members) => {
                for (name, value) in members {
                    let (patterns, references) = match (name.as_str(), value) {
                        ("pattern", Value::String(_)) => (1, 0),
                        ("patternProperties", Value::Object(patterns)) => (patterns.len(), 0),
                        ("$ref" | "$dynamicRef" | "$recursiveRef", Value::String(_)) => (0, 1),
                        _ => (0, 0),
                    };
                    self.patterns = self.patterns.saturating_add(patterns);
                    self.references = self.references.saturating_add(references);
                    self.add(value);
                }
            }
            _ => {}
        }
    }
}

/// A schema, first, and those that it refers to, by name.
struct Documents(Vec<(String, Value)>);

impl Documents {
    fn at(&self, index: usize) -> Option<&Value> {
        self.0.get(index).map(|(_, document)| document)
    }

    /// The index of the document at an address.
    fn find(&self, uri: &str) -> Option<usize> {
        let id = |document: &Value| {
            let id = document.get("$id").or_else(|| document.get("id"))?;
            Some(id.as_str()?.trim_end_matches('#') == uri)
        };
        // A relative `$ref` is made absolute with the address of its document, which the name may not have.
        let relative =
            |name: &str| uri.strip_suffix(name).is_some_and(|base| !name.is_empty() && base.ends_with('/'));
        let exact = self.0.iter().position(|(name, document)| name == uri || id(document) == Some(true));
        exact.or_else(|| self.0.iter().position(|(name, _)| relative(name)))
    }
}

struct Retriever {
    documents: Arc<Documents>,
    /// The addresses at which each can still be found.
    left: Vec<AtomicUsize>,
}

impl Retriever {
    fn of(documents: Arc<Documents>, text: &str, references: &[Reference]) -> Self {
        let most = |text: &str| {
            let most = MAX_SCHEMA_BYTES.checked_div(text.len()).unwrap_or(usize::MAX);
            AtomicUsize::new(most.clamp(MIN_ADDRESSES, MAX_ADDRESSES))
        };
        let texts = std::iter::once(text).chain(references.iter().map(|reference| reference.schema.as_str()));
        Self { documents, left: texts.map(most).collect() }
    }
}

impl Retrieve for Retriever {
    fn retrieve(&self, uri: &Uri<String>) -> Result<Value, Box<dyn Error + Send + Sync>> {
        let found = self.documents.find(uri.as_str()).and_then(|index| {
            // `{"$ref": "a/b"}` in the document `b` would lead to `a/b`, `a/a/b`, and so on.
            let left = self.left.get(index)?;
            left.try_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).ok()?;
            self.documents.at(index)
        });
        found.cloned().ok_or_else(|| format!("{uri} is not among the references").into())
    }
}

/// The address of schemas without one of their own. Names that are relative are relative to it.
const BASE: &str = "json-schema:///";

/// `$ref`s of a schema and its references, at most: each may be a part of the stack while a value is validated.
const MAX_REFS: usize = 2_000;

/// Addresses at which one document is found, at most, the fewer the larger it is: each has a copy of it, and its relative
/// references begin anew there.
const MIN_ADDRESSES: usize = 3;
const MAX_ADDRESSES: usize = 16;

/// Bytes of a compiled regular expression, and of its cache in each thread, at most.
const MAX_PATTERN_BYTES: usize = 1024 * 1024;

/// Bytes of all regular expressions of a schema, at most: they share it evenly.
const MAX_PATTERNS_BYTES: usize = 32 * 1024 * 1024;

/// Steps of a validation, at most: these, and more for each part of the value.
const STEPS: usize = 100_000;
const STEPS_FOR_A_PART: usize = 100;

#[cfg(test)]
mod tests;
