//! Flattens a table into text under dotted names.

use std::path::PathBuf;

use sluicegate_backend::System;
use toml::Value;

use super::kind::Keys;
use super::problem::Place;
use super::tree::{Node, Tree};
use super::value_file;

/// The value of a dotted name.
#[derive(Clone)]
pub(super) struct Flat {
    /// The text, or why there is none. It can be a secret.
    pub(super) text: Result<String, String>,
    pub(super) place: Place,
    /// The file with the text.
    pub(super) file: Option<PathBuf>,
}

impl Flat {
    /// A property that no table contains.
    pub(super) fn of(name: &str, text: String) -> Self {
        Self { text: Ok(text), place: Place::Key(name.to_owned()), file: None }
    }
}

/// All values: strings, numbers and booleans, only strings for secrets, and the text of each `{ file = "…" }`. `prefix`
/// is that of shown names.
///
/// `NAME.file` is such a file, unless it is a key of `system`'s clusters: some of librdkafka's properties end like
/// this.
pub(super) fn flatten(prefix: String, tree: Tree, system: System) -> Vec<(String, Flat)> {
    let mut walk = Walk { prefix, system, flat: Vec::new() };
    walk.table("", tree);
    walk.flat
}

struct Walk {
    /// The prefix of shown names.
    prefix: String,
    system: System,
    flat: Vec<(String, Flat)>,
}

impl Walk {
    fn table(&mut self, above: &str, tree: Tree) {
        for (key, node) in tree {
            self.node(format!("{above}{key}"), node);
        }
    }

    fn node(&mut self, name: String, node: Node) {
        let place = node.shown(format!("{}{}", self.prefix, name.escape_debug()));
        let mut file = None;
        let text = match node {
            Node::Table(tree)
                if tree.contains_key("file") && !self.system.is_key(&format!("{name}.file")) =>
            {
                file = path(tree);
                file.as_deref().ok_or_else(|| NO_FILE.to_owned()).and_then(value_file::read)
            }
            Node::Table(tree) if !tree.is_empty() => return self.table(&format!("{name}."), tree),
            Node::Variable { text, .. } | Node::Value(Value::String(text)) => Ok(text),
            // A parsed number is not the text that was written, such as 1_000 or 12.50.
            Node::Value(value) if self.system.is_secret(&name) => {
                Err(format!("is of type {}, {EXPECTED_SECRET}", value.type_str()))
            }
            Node::Value(Value::Integer(number)) => Ok(number.to_string()),
            Node::Value(Value::Float(number)) => Ok(number.to_string()),
            Node::Value(Value::Boolean(flag)) => Ok(flag.to_string()),
            Node::Value(value) => Err(format!("is of type {}, {EXPECTED}", value.type_str())),
            Node::Table(_) => Err(format!("is an empty table, {EXPECTED}")),
        };
        self.flat.push((name, Flat { text, place, file }));
    }
}

/// The path of `{ file = "…" }`.
fn path(mut tree: Tree) -> Option<PathBuf> {
    let file = tree.remove("file")?;
    let path = file.text().filter(|path| !path.is_empty() && tree.is_empty());
    path.map(PathBuf::from)
}

const EXPECTED: &str = "expected a string, a number, a boolean or { file = \"…\" }";
const EXPECTED_SECRET: &str = "expected a string or { file = \"…\" }";
const NO_FILE: &str = "expected { file = \"…\" } with the path of a file, and no other key";
