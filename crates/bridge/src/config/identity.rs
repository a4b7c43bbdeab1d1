//! `[identity]`: the identities of clients that are believed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sluicegate_identity::{ALGORITHMS, Algorithm, Issuer, Keys, KeysFrom};

use super::keys;
use super::problem::Problems;
use super::section::{Section, check_name, parse_url};
use super::value_file;

/// `[identity]`.
#[derive(Debug)]
pub struct Identity {
    /// Whether authenticated gateways tell identities. Default: no, because a gateway that was set up without them lets
    /// a client's own header pass.
    pub from_gateway: bool,
    /// `leeway_ms`: how far the clocks of issuers and bridges can differ. An identity is valid for so long after it has
    /// expired. Default 60 s, as in Envoy.
    pub leeway: Duration,
    /// `[identity.NAME]`: the issuers of tokens that the bridge verifies.
    pub issuers: BTreeMap<String, Issuer>,
}

pub(super) fn parse(mut table: Section, problems: &mut Problems) -> Identity {
    let from_gateway = table.flag(keys::IDENTITY_FROM_GATEWAY.short(), false, problems);
    let leeway = table.millis(&keys::IDENTITY_LEEWAY, problems);
    let named = table.tables(problems);
    let issuer = |(name, table)| Some((String::clone(&name), issuer(&name, table, leeway, problems)?));
    let issuers = named.into_iter().filter_map(issuer).collect();
    table.end(problems);
    Identity { from_gateway, leeway, issuers }
}

fn issuer(name: &str, mut table: Section, leeway: Duration, problems: &mut Problems) -> Option<Issuer> {
    let shown = format!("identity.{}", name.escape_debug());
    let key = |key: &str| format!("{shown}.{key}");
    check_name(name, &shown, problems);
    let issuer = table.text(keys::ISSUER.short(), problems);
    if issuer.is_none() {
        problems.add(key("issuer"), "is missing, expected the claim iss of tokens");
    }
    let audience: Vec<String> = table.names(keys::AUDIENCE.short(), problems).into_iter().collect();
    if audience.is_empty() {
        problems.add(
            key("audience"),
            "is missing, expected the claim aud of tokens: a token for others must not work here",
        );
    }
    let named = table.names(keys::ALGORITHMS.short(), problems);
    let known = |name: &String| {
        ALGORITHMS.into_iter().find(|(known, _)| known == name).map(|(_, algorithm)| algorithm)
    };
    let algorithms: Vec<Algorithm> = named.iter().filter_map(known).collect();
    if algorithms.len() < named.len() {
        let names = ALGORITHMS.map(|(name, _)| name).join(", ");
        problems.add(key("algorithms"), format!("expected some of {names}"));
    }
    let url = table.url(
        keys::JWKS_URL.short(),
        |text| parse_url(text).is_some(),
        "expected an HTTP(S) URL",
        problems,
    );
    let file = table.path(keys::JWKS_FILE.short(), problems);
    let has_secret = table.has(keys::ISSUER_SECRET.short());
    let secret = table.secret(keys::ISSUER_SECRET.short(), problems);
    table.end(problems);
    let (keys, by_default) = match (&url, &file, has_secret) {
        (Some(text), None, false) => {
            (parse_url(text).map(KeysFrom::Url), ALGORITHMS.map(|(_, algorithm)| algorithm).to_vec())
        }
        (None, Some(path), false) => {
            let keys = from_file(path).map_err(|problem| problems.add(key("jwks_file"), problem)).ok();
            for refused in keys.iter().flat_map(|keys| keys.refused()) {
                problems.warn(key("jwks_file"), format!("{}: skipped {refused}", path.display()));
            }
            (
                keys.map(|keys| KeysFrom::Fixed(Arc::new(keys))),
                ALGORITHMS.map(|(_, algorithm)| algorithm).to_vec(),
            )
        }
        (None, None, true) => {
            if !named.is_empty() {
                problems.add(key("algorithms"), "a secret verifies HS256 only: leave this out");
            }
            let keys = secret.and_then(|secret| {
                let bytes = secret.expose();
                if bytes.len() < MIN_SECRET {
                    problems.add(
                        key("secret"),
                        format!("has {} characters, expected at least {MIN_SECRET}", bytes.len()),
                    );
                    return None;
                }
                Some(KeysFrom::Fixed(Arc::new(Keys::secret(bytes))))
            });
            (keys, vec![Algorithm::HS256])
        }
        _ => {
            problems.add(shown, "expected one of jwks_url, jwks_file and secret");
            (None, Vec::new())
        }
    };
    let algorithms = if algorithms.is_empty() { by_default } else { algorithms };
    Some(Issuer { name: issuer?, audience, algorithms, leeway, keys: keys? })
}

fn from_file(path: &Path) -> Result<Keys, String> {
    let text = value_file::read(path)?;
    Keys::parse(text.as_bytes()).map_err(|error| format!("{}: {error}", path.display()))
}

/// RFC 7518, section 3.2: "A key of the same size as the hash output [...] or larger MUST be used with this algorithm."
const MIN_SECRET: usize = 32;
