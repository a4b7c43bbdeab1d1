//! The people to whom an entry of a policy applies.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::claims::integer;

/// Claims and the values of which each has to have one, such as `{"roles": ["admin", "ops"]}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, Value>", into = "BTreeMap<String, Vec<Value>>")]
pub struct Condition(BTreeMap<String, Vec<Value>>);

impl Condition {
    /// The names of its claims.
    pub fn claims(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Whether each claim is one of its values, or a list with one of them.
    pub(crate) fn is_met<'a>(&self, value: impl Fn(&str) -> Option<&'a Value>) -> bool {
        self.0.iter().all(|(claim, wanted)| {
            let has = |value: &Value| wanted.iter().any(|wanted| is_same(wanted, value));
            match value(claim) {
                None => false,
                Some(Value::Array(items)) => items.iter().any(has),
                Some(value) => has(value),
            }
        })
    }
}

impl TryFrom<BTreeMap<String, Value>> for Condition {
    type Error = String;

    fn try_from(wanted: BTreeMap<String, Value>) -> Result<Self, Self::Error> {
        let can_be = |value: &Value| match value {
            Value::String(_) | Value::Bool(_) => true,
            Value::Number(number) => integer(number).is_some(),
            Value::Null | Value::Array(_) | Value::Object(_) => false,
        };
        if wanted.is_empty() {
            return Err("a condition names claims, and at least one value of each".to_owned());
        }
        let values = |(claim, values): (String, Value)| match values {
            Value::Array(values) if !values.is_empty() && values.iter().all(can_be) => Ok((claim, values)),
            _ => {
                Err(format!("when.{claim}: must be an array of strings, true, false, or integers below 2^53"))
            }
        };
        wanted.into_iter().map(values).collect::<Result<_, _>>().map(Self)
    }
}

impl From<Condition> for BTreeMap<String, Vec<Value>> {
    fn from(condition: Condition) -> Self {
        condition.0
    }
}

/// Values of different types are never the same.
fn is_same(wanted: &Value, value: &Value) -> bool {
    match (wanted, value) {
        (Value::Number(wanted), Value::Number(value)) => {
            integer(wanted) == integer(value) && integer(wanted).is_some()
        }
        (wanted, value) => wanted == value,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn condition(value: Value) -> Result<Condition, String> {
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    #[test]
    fn each_claim_has_one_of_its_values() {
        let met = |wanted: Value, claims: Value| condition(wanted).unwrap().is_met(|name| claims.get(name));
        let roles = || json!({"roles": ["admin", "ops"]});
        for (claims, want) in [
            (json!({"roles": "admin"}), true),
            (json!({"roles": ["x", "ops"]}), true),
            (json!({"roles": "x"}), false),
            (json!({"roles": ["admins", "ADMIN"]}), false),
            (json!({"roles": [["admin"]]}), false),
            (json!({"roles": {"admin": true}}), false),
            (json!({"roles": []}), false),
            (json!({"roles": null}), false),
            (json!({}), false),
        ] {
            assert_eq!(met(roles(), claims.clone()), want, "{claims}");
        }
        let both = json!({"a": [true], "b": [1]});
        assert!(met(both.clone(), json!({"a": true, "b": 1.0})));
        for claims in [
            json!({"a": true}),
            json!({"a": "true", "b": 1}),
            json!({"a": true, "b": "1"}),
            json!({"a": 1, "b": 1}),
            json!({"a": true, "b": 2}),
        ] {
            assert!(!met(both.clone(), claims.clone()), "{claims}");
        }
    }

    #[test]
    fn condition_without_claims_or_values_is_refused() {
        for other in [
            json!({}),
            json!({"a": []}),
            json!({"a": "x"}),
            json!({"a": [null]}),
            json!({"a": [[1]]}),
            json!({"a": [1.5]}),
            json!([]),
        ] {
            assert!(condition(other.clone()).is_err(), "{other}");
        }
    }
}
