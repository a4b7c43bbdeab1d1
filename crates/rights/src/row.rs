//! The records of a topic that a client can use.

use std::fmt;
use std::sync::Arc;

/// Records that belong together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Row {
    /// Records whose key begins so. Those without a key are not among them.
    KeyPrefix(Box<str>),
    /// Records with a header of this name, all of which have this value.
    Header {
        /// The header's name.
        name: Box<str>,
        /// Its value.
        value: Box<str>,
    },
    /// Messages of NATS whose subject, which is their key, matches one of these: `*` is one token, and a `>` at the end
    /// is one or more.
    Subjects(Vec<Box<str>>),
}

/// The key and the headers of a record.
pub trait Marks {
    /// The key; in NATS, the subject.
    fn key(&self) -> Option<&[u8]>;

    /// The names and the values of the headers.
    fn headers(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)>;
}

/// The records of a topic that a client can use; by default, all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Rows(Vec<Vec<Arc<Row>>>);

impl Rows {
    /// No record.
    pub fn none() -> Self {
        Self(vec![Vec::new()])
    }

    /// Records that are in one row of each group.
    pub(crate) fn of(groups: Vec<Vec<Arc<Row>>>) -> Self {
        Self(groups)
    }

    /// Whether they are all records.
    pub fn is_all(&self) -> bool {
        self.0.is_empty()
    }

    /// The number of rows that a record is compared with, at most.
    pub fn count(&self) -> usize {
        self.groups().map(<[_]>::len).fold(0, usize::saturating_add)
    }

    /// The name and the value of the header that they have, if they are one row by header.
    pub fn only_header(&self) -> Option<(&str, &str)> {
        let [group] = &self.0[..] else { return None };
        let [row] = &group[..] else { return None };
        match &**row {
            Row::Header { name, value } => Some((name, value)),
            Row::KeyPrefix(_) | Row::Subjects(_) => None,
        }
    }

    /// Whether records of the same key can differ in whether they are among them.
    pub fn look_at_headers(&self) -> bool {
        self.groups().flatten().any(|row| matches!(**row, Row::Header { .. }))
    }

    /// Their memory in bytes.
    pub fn memory(&self) -> usize {
        let row = |row: &Arc<Row>| row.memory().saturating_add(size_of::<Arc<Row>>());
        self.groups().flatten().map(row).fold(0, usize::saturating_add)
    }

    /// Lists of rows: a record is in one of each list.
    pub fn groups(&self) -> impl Iterator<Item = &[Arc<Row>]> {
        self.0.iter().map(Vec::as_slice)
    }

    /// Whether a record is among them.
    pub fn have(&self, record: &impl Marks) -> bool {
        self.groups().all(|rows| rows.iter().any(|row| row.has(record)))
    }
}

impl Row {
    /// Whether a record is in it.
    pub fn has(&self, record: &impl Marks) -> bool {
        match self {
            Self::KeyPrefix(prefix) => record.key().is_some_and(|key| key.starts_with(prefix.as_bytes())),
            Self::Header { name, value } => {
                let mut is_named = false;
                let mut named = record.headers().filter(|(other, _)| *other == name.as_bytes());
                let is_other = named.any(|(_, other)| {
                    is_named = true;
                    other != Some(value.as_bytes())
                });
                is_named && !is_other
            }
            Self::Subjects(subjects) => record
                .key()
                .is_some_and(|key| subjects.iter().any(|subject| matches(subject.as_bytes(), key))),
        }
    }

    /// Its memory in bytes.
    pub(crate) fn memory(&self) -> usize {
        let text = match self {
            Self::KeyPrefix(prefix) => prefix.len(),
            Self::Header { name, value } => name.len().saturating_add(value.len()),
            Self::Subjects(subjects) => {
                let sizes =
                    subjects.iter().map(|subject| subject.len().saturating_add(size_of::<Box<str>>()));
                sizes.fold(0, usize::saturating_add)
            }
        };
        text.saturating_add(size_of::<Self>())
    }
}

impl fmt::Display for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let group = |rows: &[Arc<Row>]| match rows {
            [] => "no records".to_owned(),
            rows => rows.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or "),
        };
        match self.is_all() {
            true => f.write_str("all records"),
            false => f.write_str(&self.groups().map(group).collect::<Vec<_>>().join(", and ")),
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeyPrefix(prefix) => write!(f, "keys that begin with {prefix:?}"),
            Self::Header { name, value } => write!(f, "header {name:?} is {value:?}"),
            Self::Subjects(subjects) => write!(f, "subjects {}", subjects.join(", ")),
        }
    }
}

/// Whether `subject` is one that `pattern` stands for.
fn matches(pattern: &[u8], subject: &[u8]) -> bool {
    let mut tokens = subject.split(|byte| *byte == b'.');
    for wanted in pattern.split(|byte| *byte == b'.') {
        match (wanted, tokens.next()) {
            (b">", Some(_)) => return true,
            (b"*", Some(token)) if !token.is_empty() => {}
            (wanted, Some(token)) if wanted == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

/// Whether `text` is a subject of NATS, with or without wildcards.
pub(crate) fn is_subject(text: &str) -> bool {
    let tokens: Vec<&str> = text.split('.').collect();
    let is_token = |(index, token): (usize, &&str)| match *token {
        ">" => index.saturating_add(1) == tokens.len(),
        "*" => true,
        token => {
            !token.is_empty()
                && !token.contains(|it: char| it.is_whitespace() || it.is_control() || it == '*' || it == '>')
        }
    };
    tokens.iter().enumerate().all(is_token)
}

#[cfg(test)]
mod tests {
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    struct Record(Option<&'static str>, Vec<(&'static str, Option<&'static str>)>);

    impl Marks for Record {
        fn key(&self) -> Option<&[u8]> {
            self.0.map(str::as_bytes)
        }

        fn headers(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
            self.1.iter().map(|(name, value)| (name.as_bytes(), value.map(str::as_bytes)))
        }
    }

    #[test]
    fn prefix_has_keys_that_begin_so() {
        let has = |key| Row::KeyPrefix("a:".into()).has(&Record(key, vec![]));
        for (key, want) in [
            (Some("a:"), true),
            (Some("a:1"), true),
            (Some("a"), false),
            (Some("A:1"), false),
            (Some("b:a:"), false),
            (Some(""), false),
            (None, false),
        ] {
            assert_eq!(has(key), want, "{key:?}");
        }
    }

    #[test]
    fn no_rows_have_no_record() {
        let (none, all) = (Rows::none(), Rows::default());
        let record = Record(Some("a"), vec![]);
        assert!(!none.have(&record) && all.have(&record));
        assert_eq!([none.to_string(), all.to_string()], ["no records", "all records"]);
        let memory = |prefix: &str| Rows::of(vec![vec![Arc::new(Row::KeyPrefix(prefix.into()))]]).memory();
        assert!(memory("") >= size_of::<Row>() && memory("abc") == memory("") + 3 && none.memory() == 0);
    }

    /// A record for two tenants belongs to none.
    #[test]
    fn header_has_one_value() {
        let row = Row::Header { name: "tenant".into(), value: "a".into() };
        let has = |headers: &[(&'static str, Option<&'static str>)]| row.has(&Record(None, headers.to_vec()));
        assert!(has(&[("x", None), ("tenant", Some("a"))]));
        assert!(has(&[("tenant", Some("a")), ("tenant", Some("a"))]));
        assert!(!has(&[]) && !has(&[("tenant", None)]) && !has(&[("Tenant", Some("a"))]));
        assert!(!has(&[("tenant", Some("aa"))]) && !has(&[("x", Some("a"))]));
        assert!(!has(&[("tenant", Some("a")), ("tenant", Some("b"))]));
        assert!(!has(&[("tenant", Some("a")), ("tenant", None)]));
    }

    /// The examples of NATS' documentation of subjects, and edges.
    #[test]
    fn subjects_match_token_by_token() {
        for (pattern, subject, want) in [
            ("time.us.east", "time.us.east", true),
            ("time.*.east", "time.us.east", true),
            ("time.*.east", "time.us.east.atlanta", false),
            ("time.us.*", "time.us", false),
            ("time.us.>", "time.us.east.atlanta", true),
            ("time.us.>", "time.us", false),
            (">", "a", true),
            ("*", "a.b", false),
            ("a.*", "a.", false),
            ("a", "ab", false),
            ("a.b", "a", false),
        ] {
            let row = Row::Subjects(vec!["other".into(), pattern.into()]);
            let subject: &'static str = subject;
            assert_eq!(row.has(&Record(Some(subject), vec![])), want, "{subject} of {pattern}");
        }
        assert!(!Row::Subjects(vec![">".into()]).has(&Record(None, vec![])));
    }
}
