//! The claims of a token that nobody has verified. They grant nothing.

use jsonwebtoken::Algorithm;
use jsonwebtoken::dangerous::insecure_decode;
use serde_json::{Map, Value};
use sluicegate_protocol::metadata::MAX_TOKEN_BYTES;
use sluicegate_rights::Claims;

/// The header and the claims of a token that nobody has verified.
#[derive(Debug, Clone, PartialEq)]
pub struct Unverified {
    /// `alg`
    pub algorithm: Algorithm,
    /// `kid`
    pub key: Option<String>,
    /// The payload.
    pub claims: Claims,
}

impl Unverified {
    /// Reads a token; None: it is not a JSON Web Token, or too long.
    pub fn parse(token: &[u8]) -> Option<Self> {
        let token = Some(token).filter(|token| token.len() <= MAX_TOKEN_BYTES)?;
        let decoded = insecure_decode::<Map<String, Value>>(token).ok()?;
        let (algorithm, key) = (decoded.header.alg, decoded.header.kid);
        Some(Self { algorithm, key, claims: Claims::of(decoded.claims) })
    }
}
