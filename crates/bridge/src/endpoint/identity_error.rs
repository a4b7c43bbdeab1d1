//! Why a client has no identity.

use sluicegate_delivery::grant;
use sluicegate_identity::TokenError;
use sluicegate_ws_session::handshake::LOG_IN;

use crate::http::INVALID_TOKEN;

/// Why a client has no identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IdentityError {
    /// It shows none.
    Missing,
    /// It was valid.
    Expired,
    /// The claim `exp` is no time.
    NotATime,
    /// One of the claims `iss`, `sub` and `jti` is not text.
    NotText,
    /// It was revoked.
    Revoked,
    /// A renewal with the token of another person.
    Other,
    /// Its token is not accepted.
    Token(TokenError),
}

impl IdentityError {
    /// The reason for the client.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Missing => LOG_IN,
            Self::Expired => grant::EXPIRED,
            Self::Revoked => grant::REVOKED,
            Self::NotATime => "the claim `exp` of the identity is invalid: expected seconds since 1970",
            Self::NotText => "a claim of the identity is invalid: expected `iss`, `sub` and `jti` as text",
            Self::Other => "the token is of another issuer or subject than the session",
            Self::Token(error) => error.text(),
        }
    }

    /// The value of `WWW-Authenticate` (RFC 6750, section 3). "If the request lacks any authentication information [...]
    /// the resource server SHOULD NOT include an error code or other error information."
    pub(crate) fn challenge(self) -> &'static str {
        match self {
            Self::Missing => "Bearer",
            Self::Expired | Self::Revoked | Self::NotATime | Self::NotText | Self::Other | Self::Token(_) => {
                INVALID_TOKEN
            }
        }
    }
}
