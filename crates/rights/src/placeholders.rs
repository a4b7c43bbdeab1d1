//! Text with placeholders for claims, such as `teams.${team}.`, and the values that can stand for them.

use std::borrow::Cow;
use std::fmt;

use serde_json::Value;

use crate::claims::integer;

/// Text with placeholders.
///
/// Two people get the same text only if their claims have the same values: no value contains the literal character
/// after its placeholder, and there is one between two placeholders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Placeholders(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    /// The name of a claim.
    Claim(String),
}

impl Placeholders {
    /// Parses text with placeholders such as `${sub}`.
    ///
    /// # Errors
    /// Values of its claims would be ambiguous: what was expected.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let (mut rest, mut parts) = (text, Vec::new());
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
        Ok(Self(parts))
    }

    /// The names of its claims, in their order.
    pub(crate) fn claims(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Literal(_) => None,
            Part::Claim(name) => Some(name.as_str()),
        })
    }

    /// The text between its placeholders.
    pub(crate) fn literals(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Literal(literal) => Some(literal.as_str()),
            Part::Claim(_) => None,
        })
    }

    /// Whether a claim's value is at its end.
    pub(crate) fn ends_with_claim(&self) -> bool {
        matches!(self.0.last(), Some(Part::Claim(_)))
    }

    /// Whether the value of a claim is free of the literal characters after its placeholders.
    pub(crate) fn admits(&self, claim: &str, value: &str) -> bool {
        let follows = |pair: &[Part]| match pair {
            [Part::Claim(name), Part::Literal(literal)] if name == claim => {
                literal.chars().next().is_some_and(|next| value.contains(next))
            }
            _ => false,
        };
        !self.0.windows(2).any(follows)
    }

    /// The text with a value for each claim. None if one has no value.
    pub(crate) fn bind<'a>(&self, value: impl Fn(&str) -> Option<&'a str>) -> Option<String> {
        let part = |part: &Part| match part {
            Part::Literal(literal) => Some(literal.clone()),
            Part::Claim(name) => value(name).map(str::to_owned),
        };
        self.0.iter().map(part).collect()
    }
}

impl fmt::Display for Placeholders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            Part::Literal(text) => f.write_str(text),
            Part::Claim(name) => write!(f, "${{{name}}}"),
        })
    }
}

/// The texts of a claim: of a string, an integer as decimal, or each of them in a list. None is empty.
pub(crate) fn texts<'a>(value: Option<&'a Value>) -> impl Iterator<Item = Cow<'a, str>> {
    let items = match value {
        None => &[],
        Some(Value::Array(items)) => &items[..],
        Some(value) => std::slice::from_ref(value),
    };
    items.iter().filter_map(text).filter(|text| !text.is_empty())
}

fn text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(number) => {
            integer(number).filter(|number| *number >= 0).map(|number| Cow::Owned(number.to_string()))
        }
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The claim whose name stands in `literal` as if it were a placeholder, such as `{sub}`, `%{sub}`, `<sub>` or `$sub`.
pub(crate) fn meant(literal: &str, is_claim: impl Fn(&str) -> bool) -> Option<&str> {
    FORMS.iter().find_map(|(open, close)| {
        literal.match_indices(open).find_map(|(at, _)| {
            let (_, behind) = literal.split_at_checked(at.saturating_add(open.len()))?;
            let end = behind.bytes().position(|byte| !is_of_claims(byte)).unwrap_or(behind.len());
            let (name, rest) = behind.split_at_checked(end)?;
            (rest.starts_with(close) && is_claim_name(name) && is_claim(name)).then_some(name)
        })
    })
}

/// The mistake that [`meant`] finds.
pub(crate) fn did_you_mean(claim: &str) -> String {
    format!("unknown placeholder, did you mean `${{{claim}}}`?")
}

/// Whether `name` can be a claim's name in a policy.
pub(crate) fn is_claim_name(name: &str) -> bool {
    (1..=MAX_CLAIM_NAME).contains(&name.len()) && name.bytes().all(is_of_claims)
}

fn is_of_claims(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Beginnings and ends of placeholders in other languages.
const FORMS: [(&str, &str); 6] = [("{{", "}}"), ("{", "}"), ("$(", ")"), ("<", ">"), ("%", "%"), ("$", "")];

/// The longest name of a claim in bytes.
const MAX_CLAIM_NAME: usize = 64;
