//! The claims of a token (RFC 7519, section 4).

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::secrets;

/// The claims of a token.
#[derive(Debug, Clone)]
pub struct Claims<'a> {
    /// The broker's principal.
    pub subject: &'a str,
    /// The start of its validity.
    pub issued: SystemTime,
    /// Its lifetime, in whole seconds.
    pub lifetime: Duration,
}

impl<'a> Claims<'a> {
    /// Claims that are valid from now on.
    #[must_use]
    pub fn new(subject: &'a str, lifetime: Duration) -> Self {
        Self { subject, issued: SystemTime::now(), lifetime }
    }

    /// An unsigned token (RFC 7515, appendix A.5).
    #[must_use]
    pub fn unsecured(&self) -> String {
        let token = format!("{}.{}.", part(&json!({"alg": "none"})), part(&self.json()));
        secrets::keep(&token);
        token
    }

    pub(super) fn json(&self) -> Value {
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
pub(super) fn part(json: &Value) -> String {
    URL_SAFE_NO_PAD.encode(json.to_string())
}
