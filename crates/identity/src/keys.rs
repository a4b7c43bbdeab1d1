//! The keys of an issuer (RFC 7517).

use std::fmt;

use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use serde_json::Value;
use thiserror::Error;

/// The keys of an issuer.
#[derive(Clone)]
pub struct Keys {
    keys: Vec<Key>,
    /// The text that they are from, by which they are compared.
    text: Vec<u8>,
}

#[derive(Clone)]
struct Key {
    id: Option<String>,
    /// The only algorithm that it is for, if the issuer says so.
    algorithm: Option<String>,
    key: DecodingKey,
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
    /// It has too many keys.
    #[error("{count} keys: expected at most {MAX_KEYS}")]
    TooMany {
        /// The number of keys.
        count: usize,
    },
}

impl Keys {
    /// Parses a JWK Set. Keys of unknown kinds, for other uses, and secrets are left out.
    ///
    /// # Errors
    /// It has none that is left.
    pub fn parse(json: &[u8]) -> Result<Self, KeysError> {
        let set: Value = serde_json::from_slice(json).map_err(|_| KeysError::NoSet)?;
        let listed = set.get("keys").and_then(Value::as_array).ok_or(KeysError::NoSet)?;
        if listed.len() > MAX_KEYS {
            return Err(KeysError::TooMany { count: listed.len() });
        }
        // One by one: a key of a kind that this version does not know must not spoil the others.
        let keys: Vec<Key> = listed.iter().filter_map(Key::parse).collect();
        if keys.is_empty() {
            Err(KeysError::NoKeys { count: listed.len() })
        } else {
            Ok(Self { keys, text: json.to_vec() })
        }
    }

    /// One secret, for HMAC.
    pub fn secret(secret: &[u8]) -> Self {
        let key = Key { id: None, algorithm: None, key: DecodingKey::from_secret(secret) };
        Self { keys: vec![key], text: secret.to_vec() }
    }

    /// The keys that can have signed a token with this algorithm and key id. A token without an id can be of any.
    pub(crate) fn of<'a>(
        &'a self,
        algorithm: Algorithm,
        id: Option<&'a str>,
    ) -> impl Iterator<Item = &'a DecodingKey> {
        let is_meant = move |key: &&Key| {
            key.key.family() == algorithm.family()
                && (id.is_none() || key.id.is_none() || key.id.as_deref() == id)
                && key.algorithm.as_deref().is_none_or(|only| has_name(algorithm, only))
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
    fn parse(value: &Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(value.clone()).ok()?;
        let verifies = match &jwk.common.key_operations {
            Some(operations) => operations.contains(&KeyOperations::Verify),
            None => matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature)),
        };
        // A secret in a public set is none.
        if !verifies || matches!(jwk.algorithm, AlgorithmParameters::OctetKey(_)) {
            return None;
        }
        let key = DecodingKey::from_jwk(&jwk).ok().filter(|key| key.family() != AlgorithmFamily::Hmac)?;
        let algorithm = value.get("alg").and_then(Value::as_str).map(str::to_owned);
        Some(Self { id: jwk.common.key_id, algorithm, key })
    }
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

fn has_name(algorithm: Algorithm, name: &str) -> bool {
    ALGORITHMS.contains(&(name, algorithm))
}

/// Keys in a set, at most: each of them may have to be tried for a token without a key id.
const MAX_KEYS: usize = 32;
