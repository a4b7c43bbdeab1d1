//! Takes keys out of a table one by one. Invalid values and unknown keys become problems.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use sluicegate_backend::System;
use sluicegate_backend::suggestion::similar_among;
use toml::Value;

use super::flat::{self, Flat};
use super::keys::{self, Address, Key, Number};
use super::problem::{Place, Problems};
use super::secret::Secret;
use super::tree::{Node, Tree};
use super::value_file;

/// A table that is being read.
pub(super) struct Section {
    /// The prefix of shown keys: empty, or ending in a dot.
    prefix: String,
    tree: Tree,
}

impl Section {
    pub(super) fn root(tree: Tree) -> Self {
        Self { prefix: String::new(), tree }
    }

    /// The table under `key`, if there is one.
    pub(super) fn table(&mut self, key: &str, problems: &mut Problems) -> Option<Section> {
        let shown = self.shown(key);
        match self.tree.remove(key)? {
            Node::Table(tree) => Some(Section { prefix: format!("{shown}."), tree }),
            node => {
                problems.add(node.shown(shown), "expected a table");
                None
            }
        }
    }

    pub(super) fn table_or_empty(&mut self, key: &str, problems: &mut Problems) -> Section {
        let prefix = format!("{}.", self.shown(key));
        self.table(key, problems).unwrap_or(Section { prefix, tree: Tree::new() })
    }

    /// The tables under all keys.
    pub(super) fn tables(&mut self, problems: &mut Problems) -> Vec<(String, Section)> {
        let keys: Vec<String> = self.set_keys().map(str::to_owned).collect();
        let named = |key: String| self.table(&key, problems).map(|table| (key, table));
        keys.into_iter().filter_map(named).collect()
    }

    /// The keys that are set.
    pub(super) fn set_keys(&self) -> impl Iterator<Item = &str> {
        self.tree.keys().map(String::as_str)
    }

    /// Takes all entries that `is_meant`, with their values.
    pub(super) fn extract(&mut self, is_meant: impl Fn(&str, &Node) -> bool) -> Vec<(String, Node)> {
        self.tree.extract_if(.., |key, node| is_meant(key, node)).collect()
    }

    /// A whole number within `range`.
    pub(super) fn number(&mut self, key: &Key<Number>, problems: &mut Problems) -> u32 {
        let Number { default, range } = &key.value;
        let expected = format!("expected a whole number from {} to {}", range.start(), range.end());
        let parse = |node: &Node| {
            let number = match node {
                Node::Value(Value::Integer(number)) => u32::try_from(*number).ok(),
                Node::Variable { text, .. } => text.parse().ok(),
                Node::Value(_) | Node::Table(_) => None,
            };
            number.filter(|number| range.contains(number))
        };
        self.parsed(key.short(), &expected, parse, problems).unwrap_or(*default)
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, key: &str, default: bool, problems: &mut Problems) -> bool {
        let parse = |node: &Node| match node {
            Node::Value(Value::Boolean(flag)) => Some(*flag),
            Node::Variable { text, .. } => text.parse().ok(),
            Node::Value(_) | Node::Table(_) => None,
        };
        self.parsed(key, "expected true or false", parse, problems).unwrap_or(default)
    }

    /// Milliseconds within `range`.
    pub(super) fn millis(&mut self, key: &Key<Number>, problems: &mut Problems) -> Duration {
        Duration::from_millis(self.number(key, problems).into())
    }

    /// A number of things, or of bytes, within `range`.
    pub(super) fn size(&mut self, key: &Key<Number>, problems: &mut Problems) -> usize {
        usize::try_from(self.number(key, problems)).unwrap_or(usize::MAX)
    }

    /// A number from 0 to 1.
    pub(super) fn ratio(&mut self, key: &str, problems: &mut Problems) -> Option<f64> {
        let parse = |node: &Node| {
            let number = match node {
                Node::Value(Value::Float(number)) => Some(*number),
                Node::Value(Value::Integer(0)) => Some(0.0),
                Node::Value(Value::Integer(1)) => Some(1.0),
                Node::Variable { text, .. } => text.parse().ok(),
                Node::Value(_) | Node::Table(_) => None,
            };
            number.filter(|number| (0.0..=1.0).contains(number))
        };
        self.parsed(key, "expected a number from 0 to 1", parse, problems)
    }

    /// A text that is not empty.
    pub(super) fn text(&mut self, key: &str, problems: &mut Problems) -> Option<String> {
        self.text_like(key, |text| !text.is_empty(), "expected a string that is not empty", problems)
    }

    /// A text that `is_valid`.
    pub(super) fn text_like(
        &mut self,
        key: &str,
        is_valid: fn(&str) -> bool,
        expected: &str,
        problems: &mut Problems,
    ) -> Option<String> {
        self.parsed(key, expected, |node| node.text_like(is_valid), problems)
    }

    /// A text that `is_valid`. A problem does not show credentials.
    pub(super) fn url(
        &mut self,
        key: &str,
        is_valid: fn(&str) -> bool,
        expected: &str,
        problems: &mut Problems,
    ) -> Option<String> {
        let show = |node: &Node| match node.text().is_some_and(|text| text.contains('@')) {
            true => "a URL with credentials".to_owned(),
            false => node.value(),
        };
        self.parsed_or(key, expected, |node| node.text_like(is_valid), show, problems)
    }

    /// An IP address and a port.
    pub(super) fn address(&mut self, key: &Key<Address>, problems: &mut Problems) -> SocketAddr {
        let expected = "expected an IP address and a port, such as \"127.0.0.1:7400\"";
        let parse = |node: &Node| node.text().and_then(|text| text.parse().ok());
        self.parsed(key.short(), expected, parse, problems).unwrap_or_else(|| key.value.default())
    }

    /// One of a few words.
    pub(super) fn one_of<T: Copy>(
        &mut self,
        key: &str,
        words: &[(&str, T)],
        problems: &mut Problems,
    ) -> Option<T> {
        let quoted: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        let expected = format!("expected {}", quoted.join(" or "));
        let parse = |node: &Node| {
            let text = node.text()?;
            words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value)
        };
        self.parsed(key, &expected, parse, problems)
    }

    /// Names in a list, or in a variable, separated by commas. Empty if not given.
    pub(super) fn names(&mut self, key: &str, problems: &mut Problems) -> BTreeSet<String> {
        let parse = |node: &Node| match node {
            Node::Value(Value::Array(names)) => {
                names.iter().map(|name| name.as_str().map(str::to_owned)).collect()
            }
            Node::Variable { text, .. } => Some(text.split(',').map(|name| name.trim().to_owned()).collect()),
            Node::Value(_) | Node::Table(_) => None,
        };
        self.parsed(key, "expected a list of names", parse, problems).unwrap_or_default()
    }

    /// Where `key` is set.
    pub(super) fn place(&self, key: &str) -> Option<Place> {
        self.tree.get(key).map(|node| node.shown(self.shown(key)))
    }

    /// Whether `key` is set.
    pub(super) fn has(&self, key: &str) -> bool {
        self.tree.contains_key(key)
    }

    pub(super) fn path(&mut self, key: &str, problems: &mut Problems) -> Option<PathBuf> {
        let parse = |node: &Node| node.text().filter(|text| !text.is_empty()).map(PathBuf::from);
        self.parsed(key, "expected the path of a file", parse, problems)
    }

    pub(super) fn required_path(&mut self, key: &str, problems: &mut Problems) -> Option<PathBuf> {
        if !self.tree.contains_key(key) {
            problems.add(self.shown(key), "is missing, expected the path of a file");
        }
        self.path(key, problems)
    }

    /// A secret, or `{ file = "…" }` whose file contains it.
    pub(super) fn secret(&mut self, key: &str, problems: &mut Problems) -> Option<Secret> {
        self.hidden(key, Secret::parse, problems)
    }

    /// A text, or that of the file in `{ file = "…" }`, as `parse` makes it. Problems do not show it.
    fn hidden<T>(
        &mut self,
        key: &str,
        parse: fn(&str) -> Result<T, String>,
        problems: &mut Problems,
    ) -> Option<T> {
        let node = self.tree.remove(key)?;
        let place = node.shown(self.shown(key));
        let read = match node {
            Node::Table(tree) => {
                let mut table = Section { prefix: format!("{}.", self.shown(key)), tree };
                let path = table.required_path("file", problems);
                table.end(problems);
                let path = path?;
                value_file::read(&path).and_then(|text| parse(&text))
            }
            node => match node.text() {
                Some(text) => parse(text),
                None => Err("expected a string or { file = \"…\" }".to_owned()),
            },
        };
        read.map_err(|problem| problems.add(place, problem)).ok()
    }

    /// A password or token of another program: a text, or `{ file = "…" }` whose file contains it.
    pub(super) fn password(&mut self, key: &str, problems: &mut Problems) -> Option<String> {
        let parse = |text: &str| match text.is_empty() || text.chars().any(char::is_control) {
            true => Err("expected a text that is not empty, without control characters".to_owned()),
            false => Ok(text.to_owned()),
        };
        self.hidden(key, parse, problems)
    }

    /// All values under dotted names: see [`flat::flatten`].
    pub(super) fn flat(self, system: System) -> Vec<(String, Flat)> {
        flat::flatten(self.prefix, self.tree, system)
    }

    /// Reports the keys that were not taken.
    pub(super) fn end(self, problems: &mut Problems) {
        for (key, node) in self.tree {
            let shown = format!("{}{key}", self.prefix);
            let problem = match keys::meant(&shown) {
                Some(meant) => format!("is not a key of this configuration, did you mean `{meant}`?"),
                None => "is not a key of this configuration, see docs/reference/bridge-configuration.md"
                    .to_owned(),
            };
            problems.add(node.shown(shown), problem);
        }
    }

    fn parsed<T>(
        &mut self,
        key: &str,
        expected: &str,
        parse: impl FnOnce(&Node) -> Option<T>,
        problems: &mut Problems,
    ) -> Option<T> {
        self.parsed_or(key, expected, parse, Node::value, problems)
    }

    /// The same; `show` gives the value that a problem names.
    fn parsed_or<T>(
        &mut self,
        key: &str,
        expected: &str,
        parse: impl FnOnce(&Node) -> Option<T>,
        show: impl FnOnce(&Node) -> String,
        problems: &mut Problems,
    ) -> Option<T> {
        let node = self.tree.remove(key)?;
        let parsed = parse(&node);
        if parsed.is_none() {
            let problem = format!("is {}, {expected}", show(&node));
            problems.add(node.shown(self.shown(key)), problem);
        }
        parsed
    }

    fn shown(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }
}

/// Checks the name of a table such as `[clusters.NAME]`, which problems show as `shown`.
pub(super) fn check_name(name: &str, shown: &str, problems: &mut Problems) {
    if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(is_name_byte) {
        let expected = format!("expected a name of 1 to {MAX_NAME} letters, digits, '.', '_' and '-'");
        problems.add(shown.to_owned(), expected);
    }
}

/// The expectation where `name` names none of the `known` tables in `table`.
pub(super) fn expected_name<'a>(name: &str, known: impl Iterator<Item = &'a str>, table: &str) -> String {
    match similar_among(name, known) {
        Some(meant) => format!("did you mean \"{meant}\"?"),
        None => format!("expected the NAME of a [{table}.NAME]"),
    }
}

/// An HTTP(S) URL without credentials.
pub(super) fn parse_url(text: &str) -> Option<Uri> {
    let uri: Uri = text.parse().ok()?;
    let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
    (is_http && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))).then_some(uri)
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

/// The longest name of a cluster, which is a header's value and a metric's label.
const MAX_NAME: usize = 100;
