//! Entries of a policy with placeholders, such as `teams.${team}.*`, and the topics that they stand for.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::claims::integer;
use crate::name::{is_of_names, is_prefix, is_topic};
use crate::topics::Pattern;

/// A topic's name, or a prefix of names, with placeholders for claims.
///
/// Two people get the same topic only if their claims have the same values: no value contains the literal character
/// after its placeholder, and there is one between two placeholders and before a `*`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Template {
    parts: Vec<Part>,
    /// Whether it ends with `*`.
    is_prefix: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    /// The name of a claim.
    Claim(String),
}

impl Template {
    /// Parses a topic's name, or a prefix followed by `*`, with placeholders such as `${sub}`.
    ///
    /// # Errors
    /// No topic can have such a name, or values of its claims would be ambiguous: what was expected.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (mut rest, is_prefix) = match text.strip_suffix('*') {
            Some(prefix) => (prefix, true),
            None => (text, false),
        };
        let mut parts = Vec::new();
        while let Some((literal, behind)) = rest.split_once("${") {
            let (name, behind) = behind.split_once('}').ok_or("a placeholder ends with }")?;
            if !is_claim_name(name) {
                return Err("a placeholder is a claim's name, such as ${sub}");
            }
            if !literal.is_empty() {
                parts.push(Part::Literal(literal.to_owned()));
            } else if !parts.is_empty() {
                return Err("a character stands between two placeholders, such as a dot");
            }
            parts.push(Part::Claim(name.to_owned()));
            rest = behind;
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        let of_names =
            |part: &Part| matches!(part, Part::Claim(_)) || part.literal().is_some_and(is_of_names);
        let longest = parts.iter().filter_map(Part::literal).map(str::len).sum::<usize>();
        if !parts.iter().all(of_names) || longest > crate::name::MAX_BYTES {
            return Err(
                "a topic's name has at most 249 letters, digits, '.', '_' and '-', and a prefix ends with *",
            );
        }
        if is_prefix && matches!(parts.last(), Some(Part::Claim(_))) {
            return Err("a character stands between a placeholder and *, such as a dot");
        }
        let has_claims = parts.iter().any(|part| part.literal().is_none());
        if !has_claims && Pattern::parse(text).is_none() {
            return Err("a topic's name is neither empty, nor '.', nor '..'");
        }
        Ok(Self { parts, is_prefix })
    }

    /// The names of its claims, each once.
    pub fn claims(&self) -> Vec<&str> {
        let mut names = Vec::new();
        for part in &self.parts {
            if let Part::Claim(name) = part
                && !names.contains(&name.as_str())
            {
                names.push(name);
            }
        }
        names
    }

    /// The topics for the values of claims, one for each combination of the values in lists. None if a claim has no
    /// usable value, or if there are more than [`MAX_EXPANSIONS`].
    pub(crate) fn expand<'a>(&self, value: impl Fn(&str) -> Option<&'a Value>) -> Vec<Pattern> {
        let claims = self.claims();
        let values: Vec<Vec<Cow<'_, str>>> =
            claims.iter().map(|claim| self.usable(claim, value(claim))).collect();
        let count = values.iter().map(Vec::len).fold(1, usize::saturating_mul);
        if count > MAX_EXPANSIONS {
            return Vec::new();
        }
        let mut bound: Vec<Vec<&str>> = vec![Vec::new()];
        for values in &values {
            let each = bound.iter().flat_map(|bound| values.iter().map(move |value| (bound, value)));
            bound = each.map(|(bound, value)| [&bound[..], &[value]].concat()).collect();
        }
        bound.iter().filter_map(|bound| self.bind(&claims, bound)).collect()
    }

    /// The values of a claim that can stand in a name at all of its placeholders.
    fn usable<'a>(&self, claim: &str, value: Option<&'a Value>) -> Vec<Cow<'a, str>> {
        let items = match value {
            None => &[],
            Some(Value::Array(items)) => &items[..],
            Some(value) => std::slice::from_ref(value),
        };
        let ends: Vec<char> = self.ends_of(claim).collect();
        let is_usable =
            |text: &Cow<'_, str>| !text.is_empty() && is_of_names(text) && !text.contains(&ends[..]);
        items.iter().filter_map(text).filter(is_usable).collect()
    }

    /// The literal characters after the placeholders of a claim.
    fn ends_of(&self, claim: &str) -> impl Iterator<Item = char> {
        self.parts.windows(2).filter_map(move |pair| match pair {
            [Part::Claim(name), Part::Literal(literal)] if name == claim => literal.chars().next(),
            _ => None,
        })
    }

    fn bind(&self, claims: &[&str], values: &[&str]) -> Option<Pattern> {
        let mut name = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(literal) => name.push_str(literal),
                Part::Claim(claim) => {
                    let at = claims.iter().position(|other| other == claim)?;
                    name.push_str(values.get(at)?);
                }
            }
        }
        match self.is_prefix {
            true => is_prefix(&name).then(|| Pattern::Prefix(name.into())),
            false => is_topic(&name).then(|| Pattern::Name(name.into())),
        }
    }
}

impl Part {
    fn literal(&self) -> Option<&str> {
        match self {
            Self::Literal(literal) => Some(literal),
            Self::Claim(_) => None,
        }
    }
}

impl TryFrom<String> for Template {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<Template> for String {
    fn from(template: Template) -> Self {
        let mut text = Self::new();
        for part in template.parts {
            match part {
                Part::Literal(literal) => text.push_str(&literal),
                Part::Claim(name) => text.extend(["${", &name, "}"]),
            }
        }
        if template.is_prefix {
            text.push('*');
        }
        text
    }
}

/// The text of a value in a name: a string, or an integer as decimal.
fn text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(number) => {
            integer(number).filter(|number| *number >= 0).map(|number| Cow::Owned(number.to_string()))
        }
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Whether `name` can be a claim's name in a policy.
pub fn is_claim_name(name: &str) -> bool {
    let is_of_claims = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=MAX_CLAIM_NAME).contains(&name.len()) && name.bytes().all(is_of_claims)
}

/// The longest name of a claim in bytes.
const MAX_CLAIM_NAME: usize = 64;

/// The topics of one entry, at most. An entry with more grants nothing.
pub const MAX_EXPANSIONS: usize = 256;

#[cfg(test)]
mod tests {
    use serde_json::json;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    /// The topics of a template for the claim `c`, or for several of them.
    #[track_caller]
    fn check(template: &str, claims: &Value, want: &[&str]) {
        let parsed = Template::parse(template).unwrap();
        let expanded = parsed.expand(|name| claims.get(name));
        let want: Vec<_> = want.iter().map(|text| Pattern::parse(text).unwrap()).collect();
        assert_eq!(expanded, want, "{template} of {claims}");
        assert_eq!(String::from(parsed), template);
    }

    #[test]
    fn values_stand_for_placeholders() {
        check("orders", &json!({}), &["orders"]);
        check("*", &json!({}), &["*"]);
        check("orders.${c}", &json!({"c": "alice"}), &["orders.alice"]);
        check("${c}", &json!({"c": "alice"}), &["alice"]);
        check("teams.${c}.*", &json!({"c": "x"}), &["teams.x.*"]);
        check("${a}-${b}.${a}", &json!({"a": "x", "b": "y"}), &["x-y.x"]);
        check("t.${c}", &json!({"c": ["x", "y", "x"]}), &["t.x", "t.y", "t.x"]);
        check("${a}.${b}", &json!({"a": ["x", "y"], "b": [1, 2]}), &["x.1", "x.2", "y.1", "y.2"]);
        check("${a}.${a}", &json!({"a": ["x", "y"]}), &["x.x", "y.y"]);
    }

    #[test]
    fn integers_are_decimal() {
        check("t.${c}", &json!({"c": 0}), &["t.0"]);
        check("t.${c}", &json!({"c": 42.0}), &["t.42"]);
        check("t.${c}", &json!({"c": (1_u64 << 53) - 1}), &["t.9007199254740991"]);
        for other in [json!(1_u64 << 53), json!(u64::MAX), json!(1e300), json!(1.5), json!(-1)] {
            check("t.${c}", &json!({"c": other}), &[]);
        }
    }

    #[test]
    fn unusable_values_grant_nothing() {
        check("t.${c}", &json!({}), &[]);
        for value in
            [json!(""), json!(null), json!(true), json!({}), json!([]), json!([["x"]]), json!({"c": "x"})]
        {
            check("t.${c}", &json!({"c": value}), &[]);
        }
        // Among them look-alikes: a Cyrillic letter, a full-width dot and a full-width digit.
        for value in [
            "*", "x*", ">", "a b", "auth0|x", "é", "\u{430}", "\u{ff0e}", "\u{ff11}", "a\0", "${c}", "a,b",
            "/",
        ] {
            check("t.${c}", &json!({"c": value}), &[]);
        }
        check("t.${c}", &json!({"c": ["x", "*", null, 7]}), &["t.x", "t.7"]);
        check("t.${c}", &json!({"c": "a".repeat(248)}), &[]);
        check("${c}", &json!({"c": [".", "..", "..."]}), &["..."]);
    }

    #[test]
    fn values_do_not_reach_into_what_follows() {
        check("teams.${c}.*", &json!({"c": ["x", "x.y", "x.", ".", "x-y"]}), &["teams.x.*", "teams.x-y.*"]);
        check("${c}-log", &json!({"c": ["a-b", "a.b"]}), &["a.b-log"]);
        check("${a}.${b}", &json!({"a": "x.y", "b": "z"}), &[]);
        check("${a}.${b}", &json!({"a": "x", "b": "y.z"}), &["x.y.z"]);
        check("${c}.1.${c}_2", &json!({"c": ["a.b", "a_b", "ab"]}), &["ab.1.ab_2"]);
        check("t.${c}", &json!({"c": ".."}), &["t..."]);
    }

    #[test]
    fn too_many_topics_are_none() {
        let list = |count: usize| (0..count).collect::<Vec<_>>();
        let expanded = |a: usize, b: usize| {
            let claims = json!({"a": list(a), "b": list(b)});
            Template::parse("${a}.${b}").unwrap().expand(|name| claims.get(name)).len()
        };
        assert_eq!((expanded(16, 16), expanded(16, 17), expanded(0, 1000)), (256, 0, 0));
    }

    #[test]
    fn invalid_templates_are_refused() {
        for template in [
            "",
            ".",
            "..",
            "a b",
            "a*b",
            "**",
            "${",
            "${}",
            "${a",
            "a}",
            "$a",
            "${a.b}",
            "${a b}",
            "${é}",
            "${a}${b}",
            "${a}*",
            "t.${a}*",
            "a,b",
            "é",
            "orders.$",
            "{a}",
            "${a}.${b}${c}",
            "${${a}}",
        ] {
            assert!(Template::parse(template).is_err(), "{template}");
        }
        assert!(Template::parse(&format!("${{a}}{}", "x".repeat(250))).is_err());
        assert!(Template::parse(&format!("${{{}}}", "a".repeat(65))).is_err());
    }
}
