//! The file and the environment as one tree of keys.

use std::collections::BTreeMap;
use std::ffi::OsString;

use toml::Value;

use super::Place;
use super::section::Problems;

/// A table's entries.
pub(super) type Tree = BTreeMap<String, Node>;

/// What stands under a key. It may be a secret, so there is no way to print it.
pub(super) enum Node {
    Table(Tree),
    /// From the file.
    Value(Value),
    /// From the environment: the variable and its text.
    Variable {
        name: String,
        text: String,
    },
}

/// Reads the file's text and lays the environment over it.
pub(super) fn read(
    file: &str,
    environment: impl Iterator<Item = (OsString, OsString)>,
    problems: &mut Problems,
) -> Tree {
    let mut tree = match file.parse::<toml::Table>() {
        Ok(table) => from_toml(table),
        Err(error) => {
            problems.add_unreadable(syntax(file, &error));
            Tree::new()
        }
    };
    for (name, text) in environment {
        // What is not UTF-8 in a name is not ours.
        let Ok(name) = name.into_string() else { continue };
        let Some(key) = name.strip_prefix(PREFIX) else { continue };
        match text.into_string() {
            Ok(text) => insert(&mut tree, &path(key), Node::Variable { name, text }),
            Err(_) => problems.add(Place::Variable(name), "is not UTF-8"),
        }
    }
    tree
}

/// One line, and nothing of the file's text: a secret may stand there.
fn syntax(file: &str, error: &toml::de::Error) -> String {
    let message = error.message().lines().collect::<Vec<_>>().join(", ");
    let Some(before) = error.span().and_then(|span| file.get(..span.start)) else {
        return format!("not TOML: {message}");
    };
    let line = before.matches('\n').count().saturating_add(1);
    let column = before.chars().rev().take_while(|&c| c != '\n').count().saturating_add(1);
    format!("not TOML: line {line}, column {column}: {message}")
}

fn from_toml(table: toml::Table) -> Tree {
    let node = |value| match value {
        Value::Table(table) => Node::Table(from_toml(table)),
        value => Node::Value(value),
    };
    table.into_iter().map(|(key, value)| (key, node(value))).collect()
}

/// A variable's key, without the prefix, as a path in the tree.
fn path(key: &str) -> Vec<String> {
    let key = key.to_lowercase();
    let mut path: Vec<String> = key.split("__").map(str::to_owned).collect();
    if let [clusters, _, property, ..] = &mut path[..]
        && clusters == "clusters"
    {
        *property = property.replace('_', ".");
    }
    path
}

fn insert(tree: &mut Tree, path: &[String], node: Node) {
    let Some((first, rest)) = path.split_first() else { return };
    if rest.is_empty() {
        tree.insert(first.clone(), node);
        return;
    }
    let entry = tree.entry(first.clone()).or_insert_with(|| Node::Table(Tree::new()));
    if !matches!(entry, Node::Table(_)) {
        *entry = Node::Table(Tree::new());
    }
    if let Node::Table(table) = entry {
        insert(table, rest, node);
    }
}

const PREFIX: &str = "SLUICEGATE_";
