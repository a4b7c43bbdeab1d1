//! The keys of an issuer (RFC 7517).

mod public_key;

use std::fmt;

use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;
use thiserror::Error;

/// The keys of an issuer.
#[derive(Clone)]
pub struct Keys {
    keys: Vec<Key>,
    refused: Vec<RefusedKey>,
    /// The text that they are from, by which they are compared.
    text: Vec<u8>,
}

#[derive(Clone)]
struct Key {
    id: Option<String>,
    /// The algorithms of its kind.
    algorithms: &'static [Algorithm],
    /// The only one that it is for, if the issuer says so.
    only: Option<Algorithm>,
    key: DecodingKey,
}

/// A key that is malformed, weak, absurd, or of an unknown kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedKey {
    id: Option<String>,
    /// It begins with the member.
    problem: String,
}

/// Why a set of keys cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeysError {
    /// It is not a set of keys.
    #[error("not a JWK Set: expected a JSON object with \"keys\"")]
    NoSet,
    /// None of its keys verifies signatures.
    #[error("no key for signatures of RSA, P-256, P-384 or Ed25519 among {count}")]
    NoKeys {
        /// The number of keys.
        count: usize,
    },
    /// All of its keys that could verify signatures are refused.
    #[error("no usable key: {}", listed(.0))]
    Refused(Vec<RefusedKey>),
    /// It has too many keys.
    #[error("{count} keys: expected at most {MAX_KEYS}")]
    TooMany {
        /// The number of keys.
        count: usize,
    },
}

impl Keys {
    /// Parses a JWK Set. Keys for other uses are left out. Malformed, weak and absurd ones, and those of unknown kinds, are
    /// [`refused`](Self::refused). Spellings that issuers have beside the standard's are taken if their meaning is clear.
    ///
    /// # Errors
    /// It has none that is left.
    pub fn parse(json: &[u8]) -> Result<Self, KeysError> {
        // RFC 8259, section 8.1: parsers "MAY ignore the presence of a byte order mark".
        let text = json.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(json);
        let set: Value = serde_json::from_slice(text).map_err(|_| KeysError::NoSet)?;
        let listed = set.get("keys").and_then(Value::as_array).ok_or(KeysError::NoSet)?;
        if listed.len() > MAX_KEYS {
            return Err(KeysError::TooMany { count: listed.len() });
        }
        // RFC 7517, section 5: "Implementations SHOULD ignore JWKs within a JWK Set that use "kty" (key type) values that
        // are not understood by them, that are missing required members, or for which values are out of the supported
        // ranges."
        let (mut keys, mut refused) = (Vec::new(), Vec::new());
        for key in listed {
            match Key::parse(key) {
                Ok(key) => keys.extend(key),
                Err(key) => refused.push(key),
            }
        }
        match (keys.is_empty(), refused.is_empty()) {
            (false, _) => Ok(Self { keys, refused, text: json.to_vec() }),
            (true, false) => Err(KeysError::Refused(refused)),
            (true, true) => Err(KeysError::NoKeys { count: listed.len() }),
        }
    }

    /// The number of keys that verify signatures.
    pub fn count(&self) -> usize {
        self.keys.len()
    }

    /// The keys of the set that are malformed, weak, absurd, or of unknown kinds.
    pub fn refused(&self) -> &[RefusedKey] {
        &self.refused
    }

    /// Keeps the keys of `known` for which the set has refused ones with the same ids: they were not withdrawn.
    pub(crate) fn keep(&mut self, known: &Self) {
        let is_spoilt = |key: &&Key| {
            let is_it = |id: &Option<String>| id.is_some() && *id == key.id;
            self.refused.iter().any(|refused| is_it(&refused.id))
                && !self.keys.iter().any(|key| is_it(&key.id))
        };
        let kept: Vec<Key> = known.keys.iter().filter(is_spoilt).cloned().collect();
        self.keys.extend(kept);
    }

    /// One secret, for HMAC. An empty one verifies nothing.
    pub fn secret(secret: &[u8]) -> Self {
        let key = DecodingKey::from_secret(secret).ok();
        let keys = key.map(|key| Key { id: None, algorithms: HMAC, only: None, key }).into_iter().collect();
        Self { keys, refused: Vec::new(), text: secret.to_vec() }
    }

    /// The keys that can have signed a token with this algorithm and key id. A token without an id can be of any.
    pub(crate) fn of<'a>(
        &'a self,
        algorithm: Algorithm,
        id: Option<&'a str>,
    ) -> impl Iterator<Item = &'a DecodingKey> {
        let is_meant = move |key: &&Key| {
            key.algorithms.contains(&algorithm)
                && (id.is_none() || key.id.is_none() || key.id.as_deref() == id)
                && key.only.is_none_or(|only| only == algorithm)
        };
        self.keys.iter().filter(is_meant).map(|key| &key.key)
    }
}

impl PartialEq for Keys {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({} keys)", self.keys.len())
    }
}

impl Key {
    /// None: for another use.
    fn parse(value: &Value) -> Result<Option<Self>, RefusedKey> {
        // A number is what some issuers write in place of a text.
        let id = match value.get("kid") {
            Some(Value::String(id)) if !id.is_empty() => Some(id.clone()),
            Some(Value::Number(id)) => Some(id.to_string()),
            _ => None,
        };
        match public_key::parse(value) {
            Ok(key) => Ok(key.map(|(key, algorithms, only)| Self { id, algorithms, only, key })),
            Err(problem) => Err(RefusedKey { id, problem }),
        }
    }
}

impl fmt::Display for RefusedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, problem } = self;
        match id {
            Some(id) => {
                let shown: String = id.chars().take(MAX_SHOWN_ID).collect();
                write!(f, "key {shown:?}: {problem}")
            }
            None => write!(f, "key without an id: {problem}"),
        }
    }
}

fn listed(keys: &[RefusedKey]) -> String {
    keys.iter().map(RefusedKey::to_string).collect::<Vec<_>>().join("; ")
}

/// The algorithms with public keys, by their names in tokens (RFC 7518, section 3.1, and RFC 8037, section 3.1).
pub const ALGORITHMS: [(&str, Algorithm); 9] = [
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
    ("PS256", Algorithm::PS256),
    ("PS384", Algorithm::PS384),
    ("PS512", Algorithm::PS512),
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
    ("EdDSA", Algorithm::EdDSA),
];

const HMAC: &[Algorithm] = &[Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
/// Keys in a set, at most: each of them may have to be tried for a token without a key id.
const MAX_KEYS: usize = 32;
/// Characters of a key's id in the log.
const MAX_SHOWN_ID: usize = 64;
