//! The keys that differ between two configurations, without their values.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{Hash as _, Hasher as _};
use std::path::Path;

use sluicegate_backend::file_hash;
use toml::Value;

use super::tree::{Node, Tree};

/// A hash for each key that is set: of its value, and of the file that it names.
#[derive(Default)]
pub(crate) struct Fingerprint(BTreeMap<String, u64>);

impl Fingerprint {
    pub(super) fn of(tree: &Tree) -> Self {
        let mut fingerprint = Self::default();
        fingerprint.add(tree, "", "");
        fingerprint
    }

    /// The keys that `new` sets to other values, adds or removes, in one line.
    pub(crate) fn changes(&self, new: &Self) -> String {
        let keys: BTreeSet<&String> = self.0.keys().chain(new.0.keys()).collect();
        let changed = keys.into_iter().filter(|key| self.0.get(*key) != new.0.get(*key));
        let changed: Vec<&str> = changed.map(String::as_str).collect();
        match (changed.get(..MAX_KEYS), changed.len().saturating_sub(MAX_KEYS)) {
            (Some(first), more @ 1..) => format!("{} and {more} more", first.join(", ")),
            _ if changed.is_empty() => "nothing".to_owned(),
            _ => changed.join(", "),
        }
    }

    fn add(&mut self, tree: &Tree, prefix: &str, table: &str) {
        for (key, node) in tree {
            let name = format!("{prefix}{}", key.escape_debug());
            if let Node::Table(below) = node {
                self.add(below, &format!("{name}."), key);
                continue;
            }
            let mut hasher = file_hash::hasher();
            node.value().hash(&mut hasher);
            let file = file(table, key, node);
            if let Some(file) = file {
                file_hash::hash(file, &mut hasher);
            }
            // The key of `{ file = "…" }` is that of the table.
            let name = match prefix.strip_suffix('.') {
                Some(above) if key == "file" && file.is_some() => above.to_owned(),
                _ => name,
            };
            self.0.insert(name, hasher.finish());
        }
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint(…)")
    }
}

/// The file that a key of `table` names: each `{ file = "…" }`, `…_file`, `….location`, `tls.…` and path of `[tls]`. The
/// audit log is left out: the bridge writes it.
pub(super) fn file<'a>(table: &str, key: &str, node: &'a Node) -> Option<&'a Path> {
    let (Node::Value(Value::String(path)) | Node::Variable { text: path, .. }) = node else { return None };
    let is_file = key == "file" && table != "audit"
        || key == "location"
        || key.ends_with("_file")
        || key.ends_with(".location")
        || key.starts_with("tls.")
        || table == "tls";
    is_file.then(|| Path::new(path.trim()))
}

/// The keys of a log line.
const MAX_KEYS: usize = 20;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::problem::Problems;
    use super::super::tree;
    use super::*;

    fn of(text: &str) -> Fingerprint {
        Fingerprint::of(&tree::read(text, std::iter::empty(), &mut Problems::default()).0)
    }

    #[test]
    fn changed_keys_are_named_without_values() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let secret = format!("gateway_secret = {{ file = {:?} }}\n", file.path());
        let mut many = "limits.max_sessions = 1\n".to_owned();
        (10..32).for_each(|n| many.push_str(&format!("clusters.c{n}.bootstrap.servers = \"a\"\n")));
        for (before, after, changes) in [
            ("", "", "nothing"),
            ("limits.max_sessions = 1", "limits.max_sessions = 2", "limits.max_sessions"),
            ("log_format = \"json\"", "[read]\nwait_ms = 1", "log_format, read.wait_ms"),
            ("gateway_secret = \"a\"", &secret, "gateway_secret"),
            (
                "clusters.a.sasl.password = 1",
                "[clusters.a]\n\"sasl.password\" = 2",
                "clusters.a.sasl.password",
            ),
            ("audit.file = \"/a\"", "audit.file = \"/b\"", "audit.file"),
        ] {
            assert_eq!(of(before).changes(&of(after)), changes, "{before} {after}");
        }
        assert!(of("").changes(&of(&many)).ends_with(", clusters.c29.bootstrap.servers and 3 more"));
        let before = of(&secret);
        fs::write(file.path(), "other").unwrap();
        assert_eq!(before.changes(&of(&secret)), "gateway_secret");
    }
}
