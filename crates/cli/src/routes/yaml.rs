//! Finds the filter's configurations in the YAML of gateways: in Envoy's own, and in resources of Envoy Gateway, Istio and
//! APISIX.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use serde_saphyr::{Spanned, from_multiple_with_options};

use super::Found;

/// A part of a document.
enum Node {
    Map(Vec<(String, Spanned<Node>)>),
    List(Vec<Spanned<Node>>),
    Scalar(Value),
}

/// All configurations in the documents of `text`. What else is there is the gateway's to check.
///
/// # Errors
/// It is not YAML.
pub(super) fn find(text: &str) -> Result<Vec<Found>, String> {
    // A snippet would show secrets.
    let options = serde_saphyr::options! { with_snippet: false };
    let documents: Vec<Node> = from_multiple_with_options(text, options)
        .map_err(|why| format!("invalid YAML: {}", why.to_string().lines().next().unwrap_or_default()))?;
    let mut found = Vec::new();
    for document in documents {
        document.search(&mut found);
        if document.is_configuration() {
            found.push(Found { line: None, json: document.json().to_string() });
        }
    }
    Ok(found)
}

impl Node {
    fn search(&self, found: &mut Vec<Found>) {
        match self {
            Self::Scalar(_) => {}
            Self::List(items) => items.iter().for_each(|item| item.value.search(found)),
            Self::Map(members) => {
                let is_wrapper = self.text("@type") == Some(WRAPPER);
                for (name, Spanned { value: node, defined, .. }) in members {
                    let json = match (name.as_str(), node) {
                        // Envoy, which gives the filter the bytes of any other type.
                        ("value", Self::Scalar(_)) if is_wrapper => node.object(),
                        // Istio, and APISIX.
                        ("pluginConfig" | "conf", _) => node.object(),
                        // Envoy Gateway.
                        ("config", Self::Map(_)) if node.is_configuration() => node.object(),
                        _ => None,
                    };
                    match json {
                        Some(json) => found.push(Found { line: Some(defined.line()), json }),
                        None => node.search(found),
                    }
                }
            }
        }
    }

    /// Whether it has the keys of a configuration.
    fn is_configuration(&self) -> bool {
        let has = |key: &str| self.member(key).is_some();
        matches!(self.member("routes"), Some(Self::List(_))) || has("path") && (has("type") || has("topics"))
    }

    /// An object as JSON, which may already be its form.
    fn object(&self) -> Option<String> {
        match self {
            Self::Map(_) => Some(self.json().to_string()),
            Self::Scalar(Value::String(json)) if json.trim_start().starts_with('{') => Some(json.clone()),
            Self::Scalar(_) | Self::List(_) => None,
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Scalar(value) => value.clone(),
            Self::List(items) => items.iter().map(|item| item.value.json()).collect(),
            Self::Map(members) => {
                let members = members.iter().map(|(name, node)| (name.clone(), node.value.json()));
                Value::Object(members.collect::<Map<_, _>>())
            }
        }
    }

    fn member(&self, key: &str) -> Option<&Self> {
        let Self::Map(members) = self else { return None };
        members.iter().find(|(name, _)| name == key).map(|(_, node)| &node.value)
    }

    fn text(&self, key: &str) -> Option<&str> {
        match self.member(key)? {
            Self::Scalar(value) => value.as_str(),
            Self::List(_) | Self::Map(_) => None,
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyNode)
    }
}

struct AnyNode;

impl<'de> Visitor<'de> for AnyNode {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that JSON has, too")
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Node, E> {
        Ok(Node::Scalar(flag.into()))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Node, E> {
        Ok(Node::Scalar(number.into()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Node, E> {
        Ok(Node::Scalar(number.into()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Node, E> {
        Ok(Node::Scalar(number.into()))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Scalar(text.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Node::Map(members))
    }
}

/// The type in which Envoy takes a plugin's configuration.
const WRAPPER: &str = "type.googleapis.com/google.protobuf.StringValue";
