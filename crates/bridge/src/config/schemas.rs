//! `[schemas.NAME]`: the registries of schemas.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use sluicegate_backend::file_hash;
use sluicegate_schemas::registry::{Credentials, Http};
use sluicegate_tls_faults::Settings;

use super::keys;
use super::problem::Problems;
use super::section::{Section, check_name, parse_url};
use super::tls;

/// A registry of schemas.
#[derive(Clone)]
pub struct Schemas {
    /// Its name in metrics.
    pub(crate) name: String,
    /// Its API.
    pub(crate) http: Arc<Http>,
    /// `on_missing_schema`: whether records come as they are stored while it does not answer. Default: they are waited
    /// for.
    pub(crate) gives_bytes: bool,
    /// Differs if a value differs, or the file of `ca`.
    pub(crate) version: u64,
}

impl fmt::Debug for Schemas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schemas")
            .field("name", &self.name)
            .field("gives_bytes", &self.gives_bytes)
            .finish_non_exhaustive()
    }
}

/// Parses every registry. One with problems is None, so that clusters can name it all the same.
pub(super) fn parse(mut table: Section, problems: &mut Problems) -> BTreeMap<String, Option<Arc<Schemas>>> {
    let named = table.tables(problems);
    let registry = |(name, table)| (String::clone(&name), registry(&name, table, problems).map(Arc::new));
    let registries = named.into_iter().map(registry).collect();
    table.end(problems);
    registries
}

fn registry(name: &str, mut table: Section, problems: &mut Problems) -> Option<Schemas> {
    let shown = format!("schemas.{}", name.escape_debug());
    let key = |key: &str| format!("{shown}.{key}");
    check_name(name, &shown, problems);
    if !table.has(keys::SCHEMAS_URL.short()) {
        problems.add(key("url"), "is missing, expected the URL of a schema registry");
    }
    let is_valid = |text: &str| parse_url(text).is_some_and(|url| url.query().is_none());
    let url = table.url(
        keys::SCHEMAS_URL.short(),
        is_valid,
        "expected an HTTP(S) URL without credentials and query",
        problems,
    );
    let username = table.text(keys::SCHEMAS_USERNAME.short(), problems);
    let has_password = table.has(keys::SCHEMAS_PASSWORD.short());
    let password = table.password(keys::SCHEMAS_PASSWORD.short(), problems);
    let has_token = table.has(keys::SCHEMAS_TOKEN.short());
    let token = table.password(keys::SCHEMAS_TOKEN.short(), problems);
    let ca = table.path(keys::SCHEMAS_CA.short(), problems);
    let ways = [("wait", false), ("bytes", true)];
    let gives_bytes = table.one_of(keys::ON_MISSING_SCHEMA.short(), &ways, problems).unwrap_or(false);
    table.end(problems);
    if username.is_some() != has_password {
        problems.add(shown.clone(), "expected both of username and password, or neither");
    }
    if username.is_some() && has_token {
        problems.add(key("token"), "is set beside username: expected one of them");
    }
    let mut hasher = file_hash::hasher();
    (name, &url, &username, &password, &token, &ca, gives_bytes).hash(&mut hasher);
    let roots = match &ca {
        None => tls::system_roots(),
        Some(path) => {
            file_hash::hash(path, &mut hasher);
            let roots = tls::certificates(path).and_then(tls::root_store);
            roots.map_err(|problem| problems.add(key("ca"), problem)).ok()?
        }
    };
    let credentials = match (username, password, token) {
        (Some(username), Some(password), _) => Some(Credentials::Basic(username, password)),
        (_, _, token) => token.map(Credentials::Bearer),
    };
    let settings = Settings { ca: "ca", certificate: None, names: None, revoked: None };
    let http = Http::new(&parse_url(&url?)?, credentials.as_ref(), tls::client(roots), settings);
    let http = http.map_err(|problem| problems.add(shown, problem.to_string())).ok()?;
    Some(Schemas { name: name.to_owned(), http: Arc::new(http), gives_bytes, version: hasher.finish() })
}
