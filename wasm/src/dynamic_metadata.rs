//! Envoy's dynamic metadata: what other filters have found out about a request.

use std::collections::BTreeMap;

use prost::Message;
use prost_types::value::Kind;
use prost_types::{Struct, Value as Typed};
use serde_json::{Map, Number, Value};
use sluicegate_rights::Claims;

/// `envoy.config.core.v3.Metadata`, as far as it is needed.
#[derive(Clone, PartialEq, Message)]
struct Metadata {
    /// By the name of the filter that wrote it.
    #[prost(btree_map = "string, message", tag = "1")]
    filter_metadata: BTreeMap<String, Struct>,
}

/// The claims that the filter `namespace` has verified, at its member `payload` if there is one. None if there are none,
/// or if they cannot be read.
///
/// Only the whole metadata has types: Envoy gives single properties as bytes, and a string could pass for a list.
pub fn claims(metadata: &[u8], namespace: &str, payload: Option<&str>) -> Option<Claims> {
    let mut metadata = Metadata::decode(metadata).ok()?;
    let mut members = metadata.filter_metadata.remove(namespace)?;
    if let Some(payload) = payload {
        members = match members.fields.remove(payload)?.kind? {
            Kind::StructValue(claims) => claims,
            _ => return None,
        };
    }
    Some(Claims::of(object(members)))
}

fn object(members: Struct) -> Map<String, Value> {
    members.fields.into_iter().map(|(name, value)| (name, json(value))).collect()
}

fn json(value: Typed) -> Value {
    match value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(flag)) => flag.into(),
        Some(Kind::StringValue(text)) => text.into(),
        Some(Kind::NumberValue(number)) => Number::from_f64(number).map_or(Value::Null, Value::Number),
        Some(Kind::ListValue(list)) => list.values.into_iter().map(json).collect(),
        Some(Kind::StructValue(members)) => Value::Object(object(members)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const JWT: &str = "envoy.filters.http.jwt_authn";

    fn typed(value: &Value) -> Typed {
        match value {
            Value::Null => Kind::NullValue(0).into(),
            Value::Bool(flag) => (*flag).into(),
            Value::Number(number) => number.as_f64().unwrap().into(),
            Value::String(text) => text.clone().into(),
            Value::Array(items) => items.iter().map(typed).collect::<Vec<_>>().into(),
            Value::Object(_) => Kind::StructValue(members(value)).into(),
        }
    }

    fn members(value: &Value) -> Struct {
        let members = value.as_object().unwrap().iter().map(|(name, value)| (name.clone(), typed(value)));
        Struct { fields: members.collect() }
    }

    fn metadata(namespace: &str, value: &Value) -> Vec<u8> {
        Metadata { filter_metadata: [(namespace.to_owned(), members(value))].into() }.encode_to_vec()
    }

    fn parsed(value: &Value) -> Option<Claims> {
        Claims::parse(value.to_string().as_bytes())
    }

    #[test]
    fn claims_keep_their_types() {
        let of =
            json!({"sub": "7", "exp": 1.5, "n": 7.0, "roles": ["a", true, null], "realm": {"team": "x"}});
        let bytes = metadata(JWT, &json!({"payload": of}));
        assert_eq!(claims(&bytes, JWT, Some("payload")), parsed(&of));
        assert_eq!(claims(&metadata(JWT, &of), JWT, None), parsed(&of));
    }

    #[test]
    fn claims_of_others_are_none() {
        let bytes = metadata(JWT, &json!({"payload": {"sub": "a"}, "text": "{}"}));
        assert_eq!(claims(&bytes, "other", Some("payload")), None);
        for payload in ["other", "text", ""] {
            assert_eq!(claims(&bytes, JWT, Some(payload)), None, "{payload}");
        }
        assert_eq!(claims(&[], JWT, None), None);
    }

    #[test]
    fn cut_metadata_has_no_claims() {
        let bytes = metadata(JWT, &json!({"payload": {"sub": "a", "roles": ["b"]}}));
        for cut in 1..bytes.len() {
            assert_eq!(claims(&bytes[..cut], JWT, Some("payload")), None, "cut at byte {cut}");
        }
    }

    #[test]
    fn deep_metadata_is_refused_without_a_trap() {
        let mut deep = json!({});
        for _ in 0..60 {
            deep = json!({"a": deep});
        }
        assert_eq!(claims(&metadata(JWT, &deep), JWT, None), None);
    }
}
