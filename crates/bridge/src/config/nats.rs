//! `[clusters.NAME]` with `kind = "nats"`: dotted keys, as Kafka's properties.
//!
//! - here: names and values, `servers` and credentials
//! - `keys`: defaults, ranges and the reference
//! - `tls`: checks of `tls.*`

pub(super) mod keys;
mod tls;

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::path::Path;
use std::time::Duration;

use sluicegate_backend::file_hash;
use sluicegate_backend::suggestion::similar_among;
use sluicegate_nats::{ClusterConfig, Credentials, ServerAddr};
use sluicegate_protocol::definition::{Host, Node};

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
impl Values<'_> {
    fn servers(&mut self) -> Vec<ServerAddr> {
        let name = keys::SERVERS.name;
        let Some(text) = self.given.get(name) else {
            self.problem(name, format!("is required, {EXPECTED}"));
            return Vec::new();
        };
        // The text can contain a password, which can contain commas.
        if text.contains('@') {
            self.problem(name, "contains credentials: use `user` and `password`, or `token`");
            return Vec::new();
        }
        let mut servers = Vec::new();
        for url in text.split(',').map(str::trim) {
            match server(url) {
                Some(server) => servers.push(server),
                None => self.problem(name, format!("has \"{}\", {EXPECTED}", url.escape_debug())),
            }
        }
        servers
    }
}

fn server(url: &str) -> Option<ServerAddr> {
    let (scheme, address) = url.split_once("://").filter(|(scheme, _)| matches!(*scheme, "nats" | "tls"))?;
    let node = match Host::parse(address) {
        Some(host) => Node { host, port: DEFAULT_PORT },
        None => Node::parse(address)?,
    };
    format!("{scheme}://{node}").parse().ok()
}

impl Values<'_> {
    /// `None` without credentials, or if there is a problem.
    fn credentials(&mut self) -> Option<Credentials> {
        let [user, password, token, nkey, creds] =
            [&keys::USER, &keys::PASSWORD, &keys::TOKEN, &keys::NKEY, &keys::CREDS].map(|key| key.name);
        let login = if self.has(user) { user } else { password };
        let mut given = [login, token, nkey, creds].into_iter().filter(|name| self.given.contains_key(*name));
        if let Some(first) = given.next() {
            for other in given {
                self.problem(other, format!("conflicts with `{first}`: set only one kind of credentials"));
            }
        }
        self.login(user, password)
            .or(self.secret(token).map(|token| Credentials::Token(token.to_owned())))
            .or(self.key(nkey, Credentials::nkey, NKEY))
            .or(self.key(creds, Credentials::creds, CREDS))
    }

    fn login(&mut self, user: &str, password: &str) -> Option<Credentials> {
        match (self.has(user), self.has(password)) {
            (true, false) => self.problem(password, format!("is required with `{user}`")),
            (false, true) => self.problem(user, format!("is required with `{password}`")),
            _ => {}
        }
        let (user, password) = (self.secret(user), self.secret(password));
        Some(Credentials::Password { user: user?.to_owned(), password: password?.to_owned() })
    }

    /// The error never shows the text.
    fn key(
        &mut self,
        name: &str,
        parse: fn(&str) -> Option<Credentials>,
        expected: &str,
    ) -> Option<Credentials> {
        let credentials = parse(self.secret(name)?);
        if credentials.is_none() {
            self.problem(name, expected);
        }
        credentials
    }
}

const NKEY: &str = "expected the seed of a user's NKey, which begins with SU";
const CREDS: &str = "expected the contents of a .creds file: set { file = \"…\" } to its path";
const DEFAULT_PORT: u16 = 4222;
const EXPECTED: &str = "expected nats://host:port or tls://host:port, with commas between servers";
const PATHS: [&str; 3] = [keys::TLS_CA.name, keys::TLS_CERTIFICATE.name, keys::TLS_KEY.name];
const DOMAIN: &str = "expected a name without spaces, '.', '*' and '>'";
const INBOX: &str = "expected a subject without spaces, empty tokens, '*' and '>'";
