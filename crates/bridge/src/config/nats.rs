//! `[clusters.NAME]` with `kind = "nats"`: dotted keys, as Kafka's properties.
//!
//! - here: names and values
//! - `keys`: defaults, ranges and the reference
//! - `servers`, `credentials`, `tls`: checks of several keys

mod credentials;
pub(super) mod keys;
mod servers;
mod tls;

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::path::Path;
use std::time::Duration;

use sluicegate_backend::file_hash;
use sluicegate_backend::suggestion::similar_among;
use sluicegate_nats::{ClusterConfig, Credentials};

use super::PropertyError;
use super::keys::{Key, Number};

pub(super) fn is_key(name: &str) -> bool {
    keys::NAMES.contains(&name)
}

/// Also true of misspelt names, and of Kafka's.
pub(super) fn is_secret(name: &str) -> bool {
    ["creds", "nkey", "pass", "secret", "token"].iter().any(|word| name.contains(word))
}

pub(super) fn is_path(name: &str) -> bool {
    PATHS.contains(&name)
}

/// The problem of a key that no cluster has.
pub(super) fn unknown(name: &str) -> String {
    let unknown = "is not a key of NATS clusters";
    if let Some((parent, _)) = name.rsplit_once('.').filter(|(parent, _)| is_key(parent)) {
        return format!("{unknown}: set `{parent}` to its value or to {{ file = \"…\" }}");
    }
    let dotted = name.to_ascii_lowercase().replace(['_', '-'], ".");
    match similar_among(&dotted, keys::NAMES.iter().copied()) {
        Some(meant) => format!("{unknown}, did you mean `{meant}`?"),
        None => format!("{unknown}, see docs/reference/bridge-configuration.md"),
    }
}

/// Takes values whose names were checked, and reads the files that they name.
///
/// # Errors
/// Every invalid or missing value, without secrets.
pub(super) fn parse(given: &BTreeMap<String, String>) -> Result<ClusterConfig, Vec<PropertyError>> {
    // Before the files are read: a later change is another version.
    let version = version(given);
    let mut values = Values { given, errors: Vec::new() };
    let servers = values.servers();
    let credentials = values.credentials();
    let tls = values.tls(servers.iter().any(|server| server.tls_required()));
    let config = ClusterConfig {
        discover: values.flag(keys::DISCOVER.name, true),
        credentials: credentials.unwrap_or(Credentials::None),
        tls,
        domain: values.text(keys::DOMAIN.name, |text| is_token(text).then(|| text.to_owned()), DOMAIN),
        inbox: values
            .text(keys::INBOX.name, |text| text.split('.').all(is_token).then(|| text.to_owned()), INBOX)
            .unwrap_or_else(|| keys::DEFAULT_INBOX.to_owned()),
        request_timeout: Duration::from_millis(values.number(&keys::REQUEST_TIMEOUT).into()),
        queue_bytes: values.size(&keys::QUEUE_BYTES),
        queue_records: values.size(&keys::QUEUE_RECORDS),
        servers,
        version,
    };
    if values.errors.is_empty() { Ok(config) } else { Err(values.errors) }
}

/// The values of a table, and their problems.
struct Values<'a> {
    given: &'a BTreeMap<String, String>,
    errors: Vec<PropertyError>,
}

impl<'a> Values<'a> {
    fn has(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }

    /// As written: a password can begin or end with a space. Not empty.
    fn secret(&mut self, name: &str) -> Option<&'a str> {
        let text = self.given.get(name)?;
        if text.trim().is_empty() {
            self.problem(name, "is empty");
            return None;
        }
        Some(text)
    }

    /// A value that can be shown.
    fn text<T>(&mut self, name: &str, parse: impl Fn(&str) -> Option<T>, expected: &str) -> Option<T> {
        let text = self.given.get(name)?.trim();
        let parsed = parse(text);
        if parsed.is_none() {
            self.problem(name, format!("is \"{}\", {expected}", text.escape_debug()));
        }
        parsed
    }

    fn flag(&mut self, name: &str, default: bool) -> bool {
        self.text(name, |text| text.parse().ok(), "expected true or false").unwrap_or(default)
    }

    fn number(&mut self, key: &Key<Number>) -> u32 {
        let Number { default, range } = &key.value;
        let expected = format!("expected a whole number from {} to {}", range.start(), range.end());
        let parse = |text: &str| text.parse().ok().filter(|number| range.contains(number));
        self.text(key.name, parse, &expected).unwrap_or(*default)
    }

    fn size(&mut self, key: &Key<Number>) -> usize {
        usize::try_from(self.number(key)).unwrap_or(usize::MAX)
    }

    /// The value; an error becomes a problem.
    fn usable<T>(&mut self, name: &str, value: Result<T, String>) -> Option<T> {
        value.map_err(|problem| self.problem(name, problem)).ok()
    }

    fn problem(&mut self, name: &str, problem: impl Into<String>) {
        self.errors.push(PropertyError { key: name.to_owned(), problem: problem.into() });
    }
}

fn version(given: &BTreeMap<String, String>) -> u64 {
    let mut hasher = file_hash::hasher();
    given.hash(&mut hasher);
    for path in PATHS.iter().filter_map(|name| given.get(*name)) {
        file_hash::hash(Path::new(path.trim()), &mut hasher);
    }
    hasher.finish()
}

/// Whether a text can be one token of a subject.
fn is_token(text: &str) -> bool {
    let is_illegal = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '.' | '*' | '>');
    !text.is_empty() && !text.contains(is_illegal)
}

/// Their values are paths.
const PATHS: [&str; 3] = [keys::TLS_CA.name, keys::TLS_CERTIFICATE.name, keys::TLS_KEY.name];
const DOMAIN: &str = "expected a name without spaces, '.', '*' and '>'";
const INBOX: &str = "expected a subject without spaces, empty tokens, '*' and '>'";
