//! JSON as `serde_json` reads it, and the duplicate keys that `serde_json` silently drops.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// The value of `json`, and the paths of its duplicate keys, such as `routes[0].path`. The first value of a key is
/// kept.
///
/// # Errors
/// It is not JSON, or more than 128 levels deep.
pub(super) fn parse(json: &[u8]) -> Result<(Value, Vec<String>), serde_json::Error> {
    let duplicates = RefCell::default();
    // RFC 8259, section 8.1: "implementations that parse JSON texts MAY ignore the presence of a byte order mark".
    let json = json.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(json);
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let value =
        ValueVisitor { path: String::new(), duplicates: &duplicates }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok((value, duplicates.into_inner()))
}

/// Reads the value at `path`, and collects the paths of duplicate keys.
struct ValueVisitor<'a> {
    path: String,
    duplicates: &'a RefCell<Vec<String>>,
}

impl ValueVisitor<'_> {
    fn key(&self, key: &str) -> Self {
        let dot = if self.path.is_empty() { "" } else { "." };
        Self { path: format!("{}{dot}{key}", self.path), duplicates: self.duplicates }
    }
}

impl<'de> DeserializeSeed<'de> for ValueVisitor<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueVisitor<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        loop {
            let path = format!("{}[{}]", self.path, values.len());
            match items.next_element_seed(ValueVisitor { path, duplicates: self.duplicates })? {
                Some(value) => values.push(value),
                None => return Ok(Value::Array(values)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let visitor = self.key(&key);
            if object.contains_key(&key) {
                self.duplicates.borrow_mut().push(visitor.path.clone());
                entries.next_value_seed(visitor)?;
            } else {
                let value = entries.next_value_seed(visitor)?;
                object.insert(key, value);
            }
        }
        Ok(Value::Object(object))
    }
}
