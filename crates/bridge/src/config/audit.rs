//! `[audit]`: the audit log.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::keys;
use super::problem::Problems;
use super::section::Section;

/// `[audit]`.
#[derive(Debug, Default)]
pub struct Audit {
    /// The file that lines are appended to. Default: none, and nothing is logged.
    pub file: Option<PathBuf>,
    /// Names of claims in lines, beside `iss`, `sub` and `jti`. Default: none.
    pub claims: BTreeSet<String>,
}

pub(super) fn parse(mut table: Section, problems: &mut Problems) -> Audit {
    let has_file = table.has(keys::AUDIT_FILE.short());
    let file = table.path(keys::AUDIT_FILE.short(), problems);
    let claims = table.names(keys::AUDIT_CLAIMS.short(), problems);
    table.end(problems);
    if !has_file && !claims.is_empty() {
        problems.add(keys::AUDIT_CLAIMS.name.to_owned(), "is set without audit.file: set both");
    }
    Audit { file, claims }
}
