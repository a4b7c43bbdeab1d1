//! Checks a token's form, signature and claims.

use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use jsonwebtoken::dangerous::insecure_decode;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation, decode, decode_header};
use rustls::ClientConfig;
use serde_json::{Map, Value};
use sluicegate_protocol::metadata::MAX_TOKEN_BYTES;
use sluicegate_rights::Claims;

use crate::keys::Keys;
use crate::provider;
use crate::source::Source;

/// Verifies the tokens of one issuer.
pub struct Verifier {
    issuer: Issuer,
    source: Source,
}

/// An issuer, and the tokens of it that are accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct Issuer {
    /// The claim `iss`.
    pub name: String,
    /// The claim `aud` has one of these.
    pub audience: Vec<String>,
    /// The algorithms of signatures.
    pub algorithms: Vec<Algorithm>,
    /// How far clocks can differ.
    pub leeway: Duration,
    /// Its keys.
    pub keys: KeysFrom,
}

/// Where the keys of an issuer come from.
#[derive(Debug, Clone, PartialEq)]
pub enum KeysFrom {
    /// They do not change.
    Fixed(Arc<Keys>),
    /// A JWK Set at this URL.
    Url(Uri),
}

/// Why a token is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenError {
    /// It is not a JSON Web Token with a signature.
    Malformed,
    /// It is too long.
    TooLong,
    /// Its algorithm is not among those of the issuer.
    Algorithm,
    /// Its header asks for an extension.
    Critical,
    /// It is a token of another kind.
    Type,
    /// The issuer has no such key.
    Key,
    /// The issuer's keys are not known.
    NoKeys,
    /// The signature is of another key, or of another token.
    Signature,
    /// It has expired.
    Expired,
    /// It is not valid yet.
    Immature,
    /// It is of another issuer.
    Issuer,
    /// It is for another audience.
    Audience,
    /// A claim that it needs is missing or of another type.
    Claims,
}

impl TokenError {
    /// The reason for the client. It repeats no part of the token.
    pub fn text(self) -> &'static str {
        match self {
            Self::Malformed => "the token is not a signed JSON Web Token",
            Self::TooLong => "the token is longer than 8192 bytes",
            Self::Algorithm => "the token is signed with an algorithm that is not accepted",
            Self::Critical => "the header of the token has crit, which is not supported",
            Self::Type => "the token is not of type JWT or at+jwt",
            Self::Key => "the token is signed with a key that its issuer does not have",
            Self::NoKeys => "the keys of the issuer cannot be fetched now",
            Self::Signature => "the signature of the token is wrong",
            Self::Expired => "the token has expired, log in again",
            Self::Immature => "the token is not valid yet",
            Self::Issuer => "the token is of another issuer",
            Self::Audience => "the token is for another audience",
            Self::Claims => "the token needs the claims iss, aud and exp",
        }
    }
}

impl Verifier {
    /// A verifier of an issuer's tokens. Keys behind a URL are fetched with `tls` when a token needs them.
    pub fn new(issuer: Issuer, tls: impl FnOnce() -> ClientConfig) -> Self {
        provider::install();
        let source = match &issuer.keys {
            KeysFrom::Fixed(keys) => Source::Fixed(Arc::clone(keys)),
            KeysFrom::Url(url) => Source::url(url.clone(), tls()),
        };
        Self { issuer, source }
    }

    /// Whether it is a verifier of this issuer, with all its settings.
    pub fn is_of(&self, issuer: &Issuer) -> bool {
        self.issuer == *issuer
    }

    /// The issuer, and the tokens of it that are accepted.
    pub fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// Fetches the keys, as a token does, and keeps nothing: what was fetched. None: they do not come from a URL.
    ///
    /// # Errors
    /// None can be used, for this reason.
    ///
    /// # Cancel safety
    /// A drop has no effect.
    pub async fn fetch(&self) -> Option<Result<Keys, String>> {
        let fetched = self.source.fetch().await?;
        Some(fetched.map_err(|error| error.to_string()))
    }

    /// The claims of a token.
    ///
    /// # Errors
    /// It is not valid now, or cannot be verified.
    ///
    /// # Cancel safety
    /// A drop abandons the wait for keys. Others get them.
    pub async fn verify(&self, token: &[u8]) -> Result<Claims, TokenError> {
        let header = self.header(token)?;
        let id = header.kid.as_deref();
        let keys = self.source.keys_of(header.alg, id).await.map_err(|_| TokenError::NoKeys)?;
        self.check(token, &header, &keys)
    }

    /// The header of a token that can be verified.
    fn header(&self, token: &[u8]) -> Result<Header, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLong);
        }
        let header = decode_header(token).map_err(|_| TokenError::Malformed)?;
        // RFC 7515, section 4.1.11: "If any of the listed extension Header Parameters are not understood and supported
        // by the recipient, then the JWS is invalid."
        if header.crit.is_some() {
            return Err(TokenError::Critical);
        }
        if !header.typ.as_deref().is_none_or(is_access_token) {
            return Err(TokenError::Type);
        }
        if !self.issuer.algorithms.contains(&header.alg) {
            return Err(TokenError::Algorithm);
        }
        Ok(header)
    }

    fn check(&self, token: &[u8], header: &Header, keys: &Keys) -> Result<Claims, TokenError> {
        let mut validation = Validation::new(header.alg);
        validation.leeway = self.issuer.leeway.as_secs();
        validation.validate_nbf = true;
        validation.set_issuer(&[&self.issuer.name]);
        validation.set_audience(&self.issuer.audience);
        // A claim of another type counts as missing.
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        let mut result = Err(TokenError::Key);
        for key in keys.of(header.alg, header.kid.as_deref()) {
            result = claims(token, key, &validation);
            if result != Err(TokenError::Signature) {
                break;
            }
        }
        result
    }
}

fn claims(token: &[u8], key: &DecodingKey, validation: &Validation) -> Result<Claims, TokenError> {
    // The signature comes first: what is wrong with the claims is told to nobody else.
    match decode::<Map<String, Value>>(token, key, validation) {
        Ok(token) => Ok(Claims::of(token.claims)),
        Err(error) => Err(match error.kind() {
            ErrorKind::InvalidSignature => TokenError::Signature,
            ErrorKind::ExpiredSignature => TokenError::Expired,
            ErrorKind::ImmatureSignature => TokenError::Immature,
            ErrorKind::InvalidIssuer => TokenError::Issuer,
            ErrorKind::InvalidAudience => TokenError::Audience,
            ErrorKind::MissingRequiredClaim(_) | ErrorKind::InvalidClaimFormat(_) | ErrorKind::Json(_) => {
                TokenError::Claims
            }
            ErrorKind::InvalidAlgorithm => TokenError::Algorithm,
            _ => TokenError::Malformed,
        }),
    }
}

/// RFC 7519, section 5.1, and RFC 9068, section 2.1: the media type in any case, with or without `application/`. A token
/// of another type, such as one for logouts, is no access token.
fn is_access_token(kind: &str) -> bool {
    let kind = kind.to_ascii_lowercase();
    matches!(kind.strip_prefix("application/").unwrap_or(&kind), "jwt" | "at+jwt")
}

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

#[cfg(test)]
mod tests;
