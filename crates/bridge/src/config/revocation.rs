//! `[revocation]`: where identities that are over before they expire are listed.

use std::path::Path;

use sluicegate_identity::RevocationList;
use sluicegate_rights::Pattern;

use super::keys;
use super::problem::Problems;
use super::section::Section;
use super::value_file;

/// `[revocation]`.
#[derive(Debug, Default)]
pub struct Revocation {
    /// `list_file`. Default: an empty list.
    pub listed: RevocationList,
    /// Where others are read. Default: nowhere.
    pub topic: Option<Topic>,
}

/// A topic with revocations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its name. No client can use it.
    pub name: String,
    /// `cluster`: its cluster, a Kafka cluster of the configuration. Default: `default`.
    pub cluster: String,
}

pub(super) fn parse(mut table: Section, problems: &mut Problems) -> Revocation {
    let file = table.path(keys::REVOCATION_FILE.short(), problems);
    let listed = file.map(|path| read(&path, problems)).transpose();
    let listed = listed.map_err(|problem| problems.add(keys::REVOCATION_FILE.name.to_owned(), problem));
    let name = table.text(keys::REVOCATION_TOPIC.short(), problems);
    let is_name = |name: &String| matches!(Pattern::parse(name), Some(Pattern::Name(_)));
    if name.as_ref().is_some_and(|name| !is_name(name)) {
        problems.add(keys::REVOCATION_TOPIC.name.to_owned(), "expected the name of a topic");
    }
    let cluster = table.text(keys::REVOCATION_CLUSTER.short(), problems);
    table.end(problems);
    if name.is_none() && cluster.is_some() {
        problems.add(keys::REVOCATION_CLUSTER.name.to_owned(), "is set without revocation.topic: set both");
    }
    let cluster = cluster.unwrap_or_else(|| "default".to_owned());
    let topic = name.map(|name| Topic { name, cluster });
    Revocation { listed: listed.ok().flatten().unwrap_or_default(), topic }
}

fn read(path: &Path, problems: &mut Problems) -> Result<RevocationList, String> {
    let list = RevocationList::parse(&value_file::bytes(path, MAX_FILE_BYTES)?);
    if let Some((line, expected)) = list.first_invalid {
        let invalid = list.invalid;
        let skipped = format!(
            "{}: skipped {invalid} of its lines, the first is line {line}: {expected}; {WHILE_INVALID}",
            path.display()
        );
        problems.warn(keys::REVOCATION_FILE.name, skipped);
    }
    Ok(list)
}

const WHILE_INVALID: &str = "until that is corrected, entries that are removed still count, and after a restart the skipped \
                             lines do not";

/// The longest file: room for all the entries that count.
const MAX_FILE_BYTES: u64 = 32 * 1024 * 1024;
