//! The text of a schema. As in the parsers of Java and Python, unknown attributes and invalid logical types are ignored,
//! and defaults are not checked before they are needed.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::{Decimal, Field, Id, Kind, Nodes, Schema, Symbols, Union, decimal, json, time};
use crate::{MAX_REFERENCES, MAX_SCHEMA_BYTES, Reference, SchemaError};

/// Bytes of a full name, at most. Types have their own copy of their namespace, so a long one costs memory for each.
const MAX_NAME: usize = 512;

/// The names of types without attributes (Avro 1.12, "Primitive Types").
pub(super) const PRIMITIVES: [&str; 8] =
    ["null", "boolean", "int", "long", "float", "double", "bytes", "string"];

pub(super) fn parse(text: &str, references: &[Reference]) -> Result<Schema, SchemaError> {
    if references.len() > MAX_REFERENCES {
        let count = references.len();
        return Err(SchemaError(format!("{count} schemas are referred to, at most {MAX_REFERENCES} can be")));
    }
    let mut parser = Parser::default();
    let mut known = HashSet::new();
    for Reference { name, schema } in references {
        if !known.insert(schema) {
            continue;
        }
        let root = parser.text(schema).map_err(|SchemaError(why)| SchemaError(format!("{name}: {why}")))?;
        // Python's registry client finds types by the reference's name.
        parser.names.entry(name.clone()).or_insert(root);
    }
    let root = parser.text(text)?;
    Ok(Schema { nodes: parser.nodes, root })
}

#[derive(Default)]
struct Parser {
    nodes: Nodes,
    /// Named types by their full names.
    names: HashMap<String, Id>,
}

type Attributes = Map<String, Value>;

impl Parser {
    fn text(&mut self, text: &str) -> Result<Id, SchemaError> {
        if text.len() > MAX_SCHEMA_BYTES {
            let len = text.len();
            return Err(SchemaError(format!(
                "the schema has {len} bytes, at most {MAX_SCHEMA_BYTES} are read"
            )));
        }
        let schema: Value = serde_json::from_str(text)
            .map_err(|error| SchemaError(format!("the schema is not valid JSON: {error}")))?;
        self.schema(&schema, "")
    }

    /// A schema within a namespace.
    fn schema(&mut self, schema: &Value, namespace: &str) -> Result<Id, SchemaError> {
        match schema {
            Value::String(name) => self.reference(name, namespace),
            Value::Array(branches) => self.union(branches, namespace),
            Value::Object(attributes) => match attributes.get("type") {
                Some(Value::String(of)) => self.object(of, attributes, namespace),
                Some(nested @ (Value::Object(_) | Value::Array(_))) => self.schema(nested, namespace),
                _ => Err(SchemaError("a schema has no \"type\"".to_owned())),
            },
            _ => Err(SchemaError(format!("expected a schema, found {schema}"))),
        }
    }

    fn reference(&mut self, name: &str, namespace: &str) -> Result<Id, SchemaError> {
        if let Some(id) = self.primitive(name, None) {
            return Ok(id);
        }
        let full = full_name(name, namespace)?;
        // Java finds types without a namespace from within one.
        let id = self.names.get(&full).or_else(|| self.names.get(name));
        id.copied().ok_or_else(|| SchemaError(format!("there is no type {full:?}")))
    }

    /// A schema with attributes.
    fn object(&mut self, of: &str, attributes: &Attributes, namespace: &str) -> Result<Id, SchemaError> {
        if let Some(id) = self.primitive(of, Some(attributes)) {
            return Ok(id);
        }
        match of {
            "array" => {
                let items = self.schema(attribute(attributes, "items", of)?, namespace)?;
                Ok(self.nodes.add("array", Kind::Array(items)))
            }
            "map" => {
                let values = self.schema(attribute(attributes, "values", of)?, namespace)?;
                Ok(self.nodes.add("map", Kind::Map(values)))
            }
            "record" | "error" | "enum" | "fixed" => self.named(of, attributes, namespace),
            name => self.reference(name, namespace),
        }
    }

    fn primitive(&mut self, name: &str, attributes: Option<&Attributes>) -> Option<Id> {
        let at = PRIMITIVES.iter().position(|primitive| *primitive == name)?;
        let kind = attributes.and_then(|attributes| logical(name, attributes));
        let kind = kind.unwrap_or(match at {
            0 => Kind::Null,
            1 => Kind::Boolean,
            2 => Kind::Int,
            3 => Kind::Long,
            4 => Kind::Float,
            5 => Kind::Double,
            6 => Kind::Bytes,
            _ => Kind::String,
        });
        let name: &'static str = PRIMITIVES.get(at)?;
        Some(self.nodes.add(name, kind))
    }

    fn union(&mut self, branches: &[Value], namespace: &str) -> Result<Id, SchemaError> {
        let branches: Vec<Id> =
            branches.iter().map(|branch| self.schema(branch, namespace)).collect::<Result<_, _>>()?;
        let mut names = HashSet::new();
        let (mut seen, mut is_plain) = (0, true);
        for branch in &branches {
            let node = self.nodes.at(*branch);
            // Avro 1.12, "Unions": "Unions may not immediately contain other unions", and "may not contain more than one
            // schema with the same type, except for the named types".
            if matches!(node.kind, Kind::Union(_)) {
                return Err(SchemaError("a union has a union as a branch".to_owned()));
            }
            if !names.insert(&*node.name) {
                return Err(SchemaError(format!("a union has two branches {:?}", node.name)));
            }
            let kinds = node.kind.json() & !json::NULL;
            is_plain &= seen & kinds == 0;
            seen |= kinds;
        }
        Ok(self.nodes.add("union", Kind::Union(Union { branches, is_plain })))
    }

    fn named(&mut self, of: &str, attributes: &Attributes, namespace: &str) -> Result<Id, SchemaError> {
        let name = string(attributes, "name", of)?;
        let namespace = attributes.get("namespace").and_then(Value::as_str).unwrap_or(namespace);
        let full = full_name(name, namespace)?;
        // Avro 1.12, "Names": the namespace of a full name holds for the names within.
        let namespace = full.rsplit_once('.').map_or("", |(namespace, _)| namespace).to_owned();
        let kind = match of {
            "enum" => symbols(attributes)?,
            "fixed" => fixed(attributes)?,
            _ => Kind::Record(Vec::new()),
        };
        let is_record = matches!(kind, Kind::Record(_));
        // Known before its fields are, which can refer to it.
        let id = self.nodes.add(full.clone(), kind);
        if self.names.insert(full.clone(), id).is_some() {
            return Err(SchemaError(format!("type {full:?} is defined twice")));
        }
        if is_record {
            let fields = self.fields(attributes, &namespace)?;
            if let Some(node) = self.nodes.0.get_mut(id.0) {
                node.kind = Kind::Record(fields);
            }
        }
        Ok(id)
    }

    fn fields(&mut self, attributes: &Attributes, namespace: &str) -> Result<Vec<Field>, SchemaError> {
        let mut names = HashSet::new();
        let mut field = |(at, field): (usize, &Value)| {
            let Value::Object(field) = field else {
                return Err(SchemaError(format!("expected a field, found {field}")));
            };
            let name = string(field, "name", "field")?;
            if !names.insert(name.to_owned()) {
                return Err(SchemaError(format!("a record has two fields {name:?}")));
            }
            Ok(Field {
                name: name.to_owned(),
                key: format!("{}{}:", if at == 0 { '{' } else { ',' }, Value::from(name)).into(),
                node: self.schema(attribute(field, "type", "field")?, namespace)?,
                default: field.get("default").cloned(),
            })
        };
        array(attributes, "fields", "record")?.iter().enumerate().map(&mut field).collect()
    }
}

/// A name with its namespace (Avro 1.12, "Names").
fn full_name(name: &str, namespace: &str) -> Result<String, SchemaError> {
    let full = match name.strip_prefix('.') {
        Some(name) => name.to_owned(),
        None if name.contains('.') || namespace.is_empty() => name.to_owned(),
        None => format!("{namespace}.{name}"),
    };
    if full.len() > MAX_NAME {
        let len = full.len();
        return Err(SchemaError(format!(
            "a name has {len} bytes with its namespace, at most {MAX_NAME} are read"
        )));
    }
    Ok(full)
}

fn attribute<'a>(attributes: &'a Attributes, name: &str, of: &str) -> Result<&'a Value, SchemaError> {
    attributes.get(name).ok_or_else(|| SchemaError(format!("a schema of type {of:?} has no {name:?}")))
}

fn string<'a>(attributes: &'a Attributes, name: &str, of: &str) -> Result<&'a str, SchemaError> {
    let value = attribute(attributes, name, of)?;
    value.as_str().ok_or_else(|| SchemaError(format!("{name:?} of type {of:?} is not a string")))
}

fn array<'a>(attributes: &'a Attributes, name: &str, of: &str) -> Result<&'a Vec<Value>, SchemaError> {
    let value = attribute(attributes, name, of)?;
    value.as_array().ok_or_else(|| SchemaError(format!("{name:?} of type {of:?} is not an array")))
}

fn symbols(attributes: &Attributes) -> Result<Kind, SchemaError> {
    let mut symbols = Symbols { json: Vec::new(), positions: HashMap::new() };
    for (symbol, at) in array(attributes, "symbols", "enum")?.iter().zip(0..) {
        let Value::String(name) = symbol else {
            return Err(SchemaError(format!("expected a symbol, found {symbol}")));
        };
        symbols.json.push(symbol.to_string().into());
        if symbols.positions.insert(name.clone(), at).is_some() {
            return Err(SchemaError(format!("an enum has two symbols {name:?}")));
        }
    }
    Ok(Kind::Enum(symbols))
}

fn fixed(attributes: &Attributes) -> Result<Kind, SchemaError> {
    let size = attribute(attributes, "size", "fixed")?.as_u64().and_then(|size| usize::try_from(size).ok());
    let size =
        size.ok_or_else(|| SchemaError("\"size\" of type \"fixed\" is not a number of bytes".to_owned()))?;
    Ok(match attributes.get("logicalType").and_then(Value::as_str) {
        Some("decimal") => as_decimal(attributes, Some(size)).unwrap_or(Kind::Fixed(size)),
        Some("uuid") if size == 16 => Kind::Uuid,
        Some("duration") if size == 12 => Kind::Duration,
        _ => Kind::Fixed(size),
    })
}

/// The logical type of a primitive one. Avro 1.12, "Logical Types": "Language implementations must ignore unknown logical
/// types", and use the underlying type where one is invalid.
fn logical(of: &str, attributes: &Attributes) -> Option<Kind> {
    let logical = attributes.get("logicalType")?.as_str()?;
    match (of, logical) {
        ("string", "uuid") => Some(Kind::UuidText),
        ("bytes", "decimal") => as_decimal(attributes, None),
        ("bytes", "big-decimal") => Some(Kind::BigDecimal),
        _ => time::Kind::of(of, logical).map(Kind::Time),
    }
}

fn as_decimal(attributes: &Attributes, size: Option<usize>) -> Option<Kind> {
    let digits = |name| usize::try_from(attributes.get(name)?.as_u64()?).ok();
    let precision = digits("precision").filter(|precision| *precision > 0)?;
    let scale = if attributes.contains_key("scale") { digits("scale")? } else { 0 };
    // floor(log10(2^(8 * size - 1) - 1)); a little less for sizes that nobody has.
    let fits = size.is_none_or(|size| {
        let bits = size.saturating_mul(8).saturating_sub(1);
        size <= decimal::MAX_BYTES && precision <= bits.saturating_mul(30_102) / 100_000
    });
    (scale <= precision && fits).then_some(Kind::Decimal(Decimal { precision, scale, size }))
}
