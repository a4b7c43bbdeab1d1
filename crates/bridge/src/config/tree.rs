//! Merges the file and the environment into one tree of keys.

use std::collections::BTreeMap;
use std::ffi::OsString;

use toml::Value;

use super::keys;
use super::problem::{Place, Problems};

/// A table's entries.
pub(super) type Tree = BTreeMap<String, Node>;

/// The value of a key. It can be a secret, so it cannot be printed.
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

impl Node {
    /// The text, if it `is_valid`.
    pub(super) fn text_like(&self, is_valid: fn(&str) -> bool) -> Option<String> {
        self.text().filter(|text| is_valid(text)).map(str::to_owned)
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Value(Value::String(text)) | Self::Variable { text, .. } => Some(text),
            Self::Value(_) | Self::Table(_) => None,
        }
    }

    /// Where the value was set: `key`, or an environment variable.
    pub(super) fn shown(&self, key: String) -> Place {
        match self {
            Self::Variable { name, .. } => Place::Variable(name.clone()),
            // Several variables can have set the table; the first names it.
            Self::Table(tree) => match tree.first_key_value() {
                Some((_, below)) => below.shown(key),
                None => Place::Key(key),
            },
            Self::Value(_) => Place::Key(key),
        }
    }

    /// The dotted names below a table; an empty one for a value.
    pub(super) fn leaves(&self) -> Vec<String> {
        let Self::Table(tree) = self else { return vec![String::new()] };
        let below = |(key, node): (&String, &Self)| {
            let leaf = |leaf: String| if leaf.is_empty() { key.clone() } else { format!("{key}.{leaf}") };
            node.leaves().into_iter().map(leaf).collect::<Vec<_>>()
        };
        tree.iter().flat_map(below).collect()
    }

    pub(super) fn value(&self) -> String {
        match self {
            Self::Value(value) => value.to_string(),
            Self::Variable { text, .. } => format!("\"{}\"", text.escape_debug()),
            Self::Table(_) => "a table".to_owned(),
        }
    }
}

/// Parses the file's text and overrides it with the environment. Also returns `SLUICEGATE_…` variables that do not
/// begin with a root key, because other programs have such variables, each with the one that it may be meant for.
pub(super) fn read(
    file: &str,
    environment: impl Iterator<Item = (OsString, OsString)>,
    problems: &mut Problems,
) -> (Tree, Vec<String>) {
    let mut tree = match file.parse::<toml::Table>() {
        Ok(table) => from_toml(table),
        Err(error) => {
            problems.add_unreadable(syntax(file, &error));
            Tree::new()
        }
    };
    let mut ignored = Vec::new();
    for (name, text) in environment {
        // A name that is not UTF-8 is another program's.
        let Ok(name) = name.into_string() else { continue };
        let Some(key) = name.strip_prefix(PREFIX) else { continue };
        let mut path = path(key);
        if !path.first().is_some_and(|first| keys::roots().any(|root| root == first)) {
            ignored.push(match meant(&key.to_lowercase()) {
                Some(meant) => format!("{name} (did you mean {meant}?)"),
                None => name,
            });
            continue;
        }
        if let Err(problem) = set(&mut tree, &mut path, &name, text) {
            problems.add(Place::Variable(name), problem);
        }
    }
    (tree, ignored)
}

/// Whether `name`, a key of a table such as `limits.max_streams`, is set.
pub(super) fn is_set(tree: &Tree, name: &str) -> bool {
    name.split_once('.').is_some_and(|(table, key)| match tree.get(table) {
        Some(Node::Table(table)) => table.contains_key(key),
        Some(Node::Value(_) | Node::Variable { .. }) | None => false,
    })
}

/// Sets the key of one variable.
fn set(tree: &mut Tree, path: &mut [String], name: &str, text: OsString) -> Result<(), String> {
    let text = text.into_string().map_err(|_| "is not UTF-8")?;
    if let [clusters, cluster, _, ..] = path
        && clusters == "clusters"
    {
        *cluster = named(tree, cluster)?;
    }
    match insert(tree, path, Node::Variable { name: name.to_owned(), text }) {
        Some(other) => Err(given_by(&other)),
        None => Ok(()),
    }
}

/// The cluster's name as in the file. A variable's name matches in any case, and its '_' matches '-' and '.'.
fn named(tree: &Tree, cluster: &str) -> Result<String, String> {
    let Some(Node::Table(clusters)) = tree.get("clusters") else { return Ok(cluster.to_owned()) };
    let folded = |name: &str| name.to_ascii_lowercase().replace(['-', '.'], "_");
    let meant: Vec<&str> =
        clusters.keys().map(String::as_str).filter(|name| folded(name) == folded(cluster)).collect();
    match meant[..] {
        [] => Ok(cluster.to_owned()),
        [name] => Ok(name.to_owned()),
        _ => Err(format!(
            "matches each of [clusters.{}]: expected names that differ in more than case, '-', '.' and '_'",
            meant.join("] and [clusters.").escape_debug()
        )),
    }
}

/// The problem of two variables for one key.
pub(super) fn given_by(other: &str) -> String {
    format!("is set by {other} too: set only one of them")
}

/// A syntax error in one line, without the file's text, which can contain secrets.
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

/// The path of a variable's key in the tree.
fn path(key: &str) -> Vec<String> {
    let key = key.to_lowercase();
    let mut path: Vec<String> = key.split("__").map(str::to_owned).collect();
    if let [table, above, property, ..] = &mut path[..]
        && (table == "clusters" || (table == "route_clusters" && above == "properties"))
    {
        *property = property.replace('_', ".");
    }
    path
}

/// The variable that is meant by a misspelt `key`, such as one with `_` between tables.
fn meant(key: &str) -> Option<String> {
    let variable = |key: &str| format!("{PREFIX}{}", key.to_uppercase().replace('.', "__"));
    if key.starts_with("clusters_") {
        return Some(variable("clusters.NAME.…"));
    }
    let flat = key.replace("__", "_");
    let unflat = keys::NAMES.iter().find(|name| name.replace('.', "_") == flat);
    unflat
        .map(|name| variable(name))
        .or_else(|| keys::meant(&key.replace("__", ".")).as_deref().map(variable))
}

/// Inserts a node, and returns the other variable that had set it.
fn insert(tree: &mut Tree, path: &[String], node: Node) -> Option<String> {
    let (first, rest) = path.split_first()?;
    if rest.is_empty() {
        return tree.insert(first.clone(), node).as_ref().and_then(Node::variable);
    }
    let entry = tree.entry(first.clone()).or_insert_with(|| Node::Table(Tree::new()));
    if let Node::Table(table) = entry {
        return insert(table, rest, node);
    }
    let mut table = Tree::new();
    insert(&mut table, rest, node);
    std::mem::replace(entry, Node::Table(table)).variable()
}

impl Node {
    /// The variable that set this, or a part of it.
    fn variable(&self) -> Option<String> {
        match self {
            Self::Variable { name, .. } => Some(name.clone()),
            Self::Table(tree) => tree.values().find_map(Self::variable),
            Self::Value(_) => None,
        }
    }
}

const PREFIX: &str = "SLUICEGATE_";
