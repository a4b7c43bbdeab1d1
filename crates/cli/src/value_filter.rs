//! Filters on values in arguments: `{"value": "/order/status", "is": ["open", {"prefix": "re"}]}`.

use serde::Deserialize;
use serde_json::{Number, Value};
use sluicegate_client::Filter;

/// As JSON sessions have it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Members {
    value: String,
    #[serde(default)]
    is: List,
    above: Option<Number>,
    below: Option<Number>,
    exists: Option<bool>,
}

/// One value, or those of a list.
#[derive(Default)]
struct List(Vec<Value>);

impl<'de> Deserialize<'de> for List {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(|value| match value {
            Value::Array(values) => Self(values),
            value => Self(vec![value]),
        })
    }
}

/// Parses a filter.
pub(crate) fn parse(json: &str) -> Result<Filter, String> {
    let expected = |error| {
        format!(
            "expected a filter such as {{\"value\": \"/order/status\", \"is\": [\"open\", \"ready\"]}}: {error}"
        )
    };
    let Members { value, is: List(wanted), above, below, exists } =
        serde_json::from_str(json).map_err(expected)?;
    let mut filter = Filter::value(value);
    for wanted in wanted {
        filter = match wanted.get("prefix").and_then(Value::as_str) {
            Some(prefix) => filter.starts_with(prefix.to_owned()),
            None => filter.is(wanted),
        };
    }
    filter = above.into_iter().fold(filter, Filter::above);
    filter = below.into_iter().fold(filter, Filter::below);
    Ok(if exists == Some(false) { filter.missing() } else { filter })
}
