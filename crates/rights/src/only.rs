//! The records of a topic that an entry grants, with placeholders for claims.

use serde::{Deserialize, Serialize};

use crate::placeholders::Placeholders;
use crate::row::{Row, is_subject};

/// The records that an entry grants, such as `{"key_prefix": "${sub}:"}`, `{"header": "tenant", "is": "${tenant}"}` or
/// `{"subjects": ["orders.${tenant}.>"]}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Members", into = "Members")]
pub struct Only(By);

#[derive(Debug, Clone, PartialEq, Eq)]
enum By {
    /// Its last character is a literal one, so that no key of another person begins so.
    KeyPrefix(Placeholders),
    Header {
        name: String,
        is: Placeholders,
    },
    /// No value has more than one token.
    Subjects(Vec<Placeholders>),
}

/// Its JSON.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Members {
    #[serde(skip_serializing_if = "Option::is_none")]
    key_prefix: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    header: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subjects: Option<Vec<String>>,
}

impl Only {
    /// The names of its claims.
    pub(crate) fn claims(&self) -> impl Iterator<Item = &str> {
        self.texts().iter().flat_map(Placeholders::claims)
    }

    /// Whether the value of a claim can stand at all of its placeholders.
    pub(crate) fn admits(&self, claim: &str, value: &str) -> bool {
        let fits = match self.0 {
            By::KeyPrefix(_) | By::Header { .. } => true,
            By::Subjects(_) => !value.contains(['.', '*', '>']) && !value.contains(is_gap),
        };
        !self.claims().any(|name| name == claim)
            || fits && self.texts().iter().all(|text| text.admits(claim, value))
    }

    /// The records with a value for each claim. None if there are none: a header's value would begin or end with
    /// whitespace.
    pub(crate) fn bind<'a>(&self, value: impl Fn(&str) -> Option<&'a str>) -> Option<Row> {
        Some(match &self.0 {
            By::KeyPrefix(prefix) => Row::KeyPrefix(prefix.bind(value)?.into()),
            By::Header { name, is } => {
                let value = is.bind(value).filter(|value| is_trimmed(value))?;
                Row::Header { name: name.as_str().into(), value: value.into() }
            }
            By::Subjects(subjects) => {
                let subjects = subjects.iter().map(|subject| subject.bind(&value).map(Into::into));
                Row::Subjects(subjects.collect::<Option<_>>()?)
            }
        })
    }

    /// The text between its placeholders.
    pub(crate) fn literals(&self) -> impl Iterator<Item = &str> {
        self.texts().iter().flat_map(Placeholders::literals)
    }

    fn texts(&self) -> &[Placeholders] {
        match &self.0 {
            By::KeyPrefix(text) | By::Header { is: text, .. } => std::slice::from_ref(text),
            By::Subjects(texts) => texts,
        }
    }
}

impl TryFrom<Members> for Only {
    type Error = &'static str;

    fn try_from(members: Members) -> Result<Self, Self::Error> {
        Ok(Self(match members {
            Members { key_prefix: Some(prefix), header: None, is: None, subjects: None } => {
                let prefix = Placeholders::parse(&prefix)?;
                if prefix.literals().all(str::is_empty) || prefix.ends_with_claim() {
                    return Err("a key_prefix ends with a literal character, such as a colon");
                }
                By::KeyPrefix(prefix)
            }
            Members { key_prefix: None, header: Some(name), is: Some(is), subjects: None } => {
                if !(1..=MAX_HEADER_NAME).contains(&name.len()) || name.contains('\0') {
                    return Err("a header has a name of at most 256 bytes without NUL");
                }
                let is = Placeholders::parse(&is)?;
                let example = is.bind(|_| Some("x")).unwrap_or_default();
                if example.is_empty() || !is_trimmed(&example) {
                    return Err("a header's value is not empty, and neither begins nor ends with whitespace");
                }
                By::Header { name, is }
            }
            Members { key_prefix: None, header: None, is: None, subjects: Some(subjects) } => {
                if !(1..=MAX_SUBJECTS).contains(&subjects.len()) {
                    return Err("there are 1 to 16 subjects");
                }
                let subject = |text: &String| {
                    let subject = Placeholders::parse(text)?;
                    let example = subject.bind(|_| Some("x")).unwrap_or_default();
                    match is_subject(&example) {
                        true => Ok(subject),
                        false => {
                            Err("a subject has tokens between dots, * for one of them and > for the rest")
                        }
                    }
                };
                By::Subjects(subjects.iter().map(subject).collect::<Result<_, _>>()?)
            }
            _ => return Err("\"only\" has either \"key_prefix\", or \"header\" and \"is\", or \"subjects\""),
        }))
    }
}

impl From<Only> for Members {
    fn from(Only(by): Only) -> Self {
        match by {
            By::KeyPrefix(prefix) => Self { key_prefix: Some(prefix.to_string()), ..Self::default() },
            By::Header { name, is } => {
                Self { header: Some(name), is: Some(is.to_string()), ..Self::default() }
            }
            By::Subjects(subjects) => {
                let subjects = subjects.iter().map(ToString::to_string).collect();
                Self { subjects: Some(subjects), ..Self::default() }
            }
        }
    }
}

/// Characters that no token of a subject has.
fn is_gap(character: char) -> bool {
    character.is_whitespace() || character.is_control()
}

/// Whether readers see all of a header's value: those of NATS do not see whitespace around it.
fn is_trimmed(value: &str) -> bool {
    value.trim() == value
}

/// The longest name of a header in bytes.
const MAX_HEADER_NAME: usize = 256;

/// The subjects of one entry, at most.
const MAX_SUBJECTS: usize = 16;

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn only(json: Value) -> Result<Only, String> {
        serde_json::from_value(json).map_err(|error| error.to_string())
    }

    /// The row with the value of the claim `c`, if it can be one.
    fn row(json: &Value, value: &str) -> Option<Row> {
        let only = only(json.clone()).unwrap();
        only.admits("c", value).then(|| only.bind(|_| Some(value))).flatten()
    }

    #[test]
    fn values_are_any_text_without_the_next_character() {
        let keys = json!({"key_prefix": "u/${c}:"});
        for value in ["alice", "é ü", "a.b", "*", "auth0|5f7c", "a/b", "\u{1f600}", "a b"] {
            assert_eq!(row(&keys, value), Some(Row::KeyPrefix(format!("u/{value}:").into())));
        }
        assert_eq!(row(&keys, "a:b"), None);
        let header = json!({"header": "tenant", "is": "${c}"});
        let is = |value: &str| Row::Header { name: "tenant".into(), value: value.into() };
        assert_eq!(row(&header, "a:b"), Some(is("a:b")));
        // Readers of NATS take them for the same.
        for value in [" a", "a ", "a\u{a0}", "\n"] {
            assert_eq!(row(&header, value), None, "{value:?}");
        }
        assert_eq!(row(&json!({"header": "tenant", "is": "eu-${c}-1"}), "a-b"), None);
        assert_eq!(row(&json!({"header": "tenant", "is": "eu-${c}-1"}), "ab"), Some(is("eu-ab-1")));
    }

    #[test]
    fn values_in_subjects_are_one_token() {
        let subjects = json!({"subjects": ["orders.${c}.>", "all.*.t-${c}"]});
        let want = ["orders.acme.>", "all.*.t-acme"].map(Into::into).to_vec();
        assert_eq!(row(&subjects, "acme"), Some(Row::Subjects(want)));
        for value in ["a.b", "*", ">", "a*", "a b", "a\tb", "a\0", "a\u{a0}b", "."] {
            assert_eq!(row(&subjects, value), None, "{value}");
        }
    }

    #[test]
    fn written_as_it_was_read() {
        for json in [
            json!({"key_prefix": "${sub}:"}),
            json!({"key_prefix": "public:"}),
            json!({"header": "tenant", "is": "${tenant}"}),
            json!({"header": "x", "is": "y"}),
            json!({"subjects": ["orders.${tenant}.>", ">"]}),
        ] {
            assert_eq!(serde_json::to_value(only(json.clone()).unwrap()).unwrap(), json);
        }
    }

    #[test]
    fn ambiguous_rows_are_refused() {
        let refused = |json: Value, reason: &str| {
            let error = only(json.clone()).unwrap_err();
            assert!(error.contains(reason), "{json}: {error}");
        };
        for prefix in ["", "${sub}", ":${sub}"] {
            refused(json!({"key_prefix": prefix}), "ends with a literal character");
        }
        refused(json!({"key_prefix": "${a}${b}:"}), "between two placeholders");
        refused(json!({"header": "", "is": "x"}), "a header has a name");
        for is in ["", " x", "${a} "] {
            refused(json!({"header": "x", "is": is}), "value is not empty");
        }
        refused(json!({"subjects": []}), "1 to 16 subjects");
        refused(json!({"subjects": vec!["a"; 17]}), "1 to 16 subjects");
        for subject in ["", ".", "a.", "a..b", "a b", "a*", "a.>.b", "${a}*", ">${a}", "a.\t"] {
            refused(json!({"subjects": [subject]}), "tokens between dots");
        }
        for both in [
            json!({}),
            json!({"header": "x"}),
            json!({"is": "x"}),
            json!({"key_prefix": "a:", "header": "x", "is": "y"}),
            json!({"key_prefix": "a:", "subjects": ["a"]}),
        ] {
            refused(both, "either \"key_prefix\"");
        }
        refused(json!({"key": "a"}), "unknown field `key`");
    }
}
