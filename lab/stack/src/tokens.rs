//! JSON web tokens (RFC 7519) for Kafka's OAUTHBEARER.

mod endpoint;

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};

pub use endpoint::{Endpoint, Setup};

use crate::{Error, secrets};

/// The claims of a token (RFC 7519, section 4).
#[derive(Debug, Clone)]
pub struct Claims<'a> {
    /// The broker's principal.
    pub subject: &'a str,
    pub issued: SystemTime,
    /// Its lifetime, in whole seconds.
    pub lifetime: Duration,
}

impl<'a> Claims<'a> {
    /// Claims that are valid from now on.
    pub fn new(subject: &'a str, lifetime: Duration) -> Self {
        Self { subject, issued: SystemTime::now(), lifetime }
    }

    /// An unsigned token (RFC 7515, appendix A.5).
    pub fn unsecured(&self) -> String {
        let token = format!("{}.{}.", part(&json!({"alg": "none"})), part(&self.json()));
        secrets::keep(&token);
        token
    }

    fn json(&self) -> Value {
        let seconds =
            |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |t| t.as_secs());
        let issued = seconds(self.issued);
        let expires = issued.saturating_add(self.lifetime.as_secs());
        // Brokers ignore the id; tests find it in logs that contain the token.
        let id = secrets::secret(&format!("token-of-{}", self.subject));
        json!({"sub": self.subject, "iat": issued, "exp": expires, "jti": id})
    }
}

/// A part of a token.
fn part(json: &Value) -> String {
    URL_SAFE_NO_PAD.encode(json.to_string())
}

/// An issuer that signs tokens with ES256 (RFC 7518, section 3.4).
pub struct Signer {
    key: EcdsaKeyPair,
    random: SystemRandom,
}

impl Signer {
    pub fn new() -> Result<Self, Error> {
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)?;
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.as_ref(), &random);
        Ok(Self { key: key.map_err(|_| ring::error::Unspecified)?, random })
    }

    /// The key set that verifies its signatures (RFC 7517, section 5).
    pub fn key_set(&self) -> String {
        // An uncompressed point: a marker byte, then two numbers of equal length.
        let point = self.key.public_key().as_ref().get(1..).unwrap_or_default();
        let (x, y) = point.split_at(point.len() / 2);
        let number = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({"keys": [{
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": KEY_ID,
            "x": number(x), "y": number(y),
        }]})
        .to_string()
    }

    pub fn sign(&self, claims: &Claims<'_>) -> Result<String, Error> {
        self.sign_json(&claims.json())
    }

    /// A token of any claims, with its signature.
    pub fn sign_json(&self, claims: &Value) -> Result<String, Error> {
        self.sign_with(&json!({"alg": "ES256", "typ": "JWT", "kid": KEY_ID}), claims)
    }

    /// A token of any header and claims, signed with ES256 whatever the header says.
    pub fn sign_with(&self, head: &Value, claims: &Value) -> Result<String, Error> {
        let signed = format!("{}.{}", part(head), part(claims));
        let signature = self.key.sign(&self.random, signed.as_bytes())?;
        let signature = URL_SAFE_NO_PAD.encode(signature);
        secrets::keep(&signature);
        Ok(format!("{signed}.{signature}"))
    }
}

const KEY_ID: &str = "tests";
