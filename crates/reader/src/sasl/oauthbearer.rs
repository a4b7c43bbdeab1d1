//! OAUTHBEARER (RFC 7628): its messages, and tokens from files.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;

use super::TokenFault;
use crate::redact::Secret;

/// A property that is sent to the broker with the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Extension {
    /// Letters only, not `auth`.
    pub(crate) name: String,
    /// Visible ASCII characters and spaces.
    pub(crate) value: String,
}

/// RFC 7628, section 3.1: the client's only message, between %x01.
pub(super) fn initial(token: &Secret, extensions: &[Extension]) -> String {
    let mut message = format!("n,,\x01auth=Bearer {}\x01", token.expose());
    for Extension { name, value } in extensions {
        message.extend([name, "=", value, "\x01"]);
    }
    message.push('\x01');
    message
}

/// RFC 7628, section 3.2.2: the `status` of the server's error message.
pub(super) fn status(answer: &[u8]) -> String {
    let account: Option<serde_json::Value> = serde_json::from_slice(answer).ok();
    let status =
        account.as_ref().and_then(|account| account.get("status")).and_then(|status| status.as_str());
    status.unwrap_or("unknown").to_owned()
}

/// The time since the token expired, by its own claim; `None` if it is not expired or has no claim.
pub(super) fn expired_since(token: &Secret, now: SystemTime) -> Option<Duration> {
    now.duration_since(expires(token)?).ok()
}

/// When a token expires, by its own claim (RFC 7519, section 4.1.4: `exp`, seconds since 1970).
pub(super) fn expires(token: &Secret) -> Option<SystemTime> {
    let claims = token.expose().split('.').nth(1)?;
    let claims: serde_json::Value = serde_json::from_slice(&BASE64.decode(claims).ok()?).ok()?;
    let expires = Duration::try_from_secs_f64(claims.get("exp")?.as_f64()?).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(expires)
}

/// A token with valid syntax: RFC 6750, section 2.1, `b64token`.
pub(super) fn checked(token: &str) -> Option<Secret> {
    let body = token.trim_end_matches('=');
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/".contains(&b);
    (!body.is_empty() && body.bytes().all(allowed)).then(|| Secret::new(token))
}

/// The token of a file, without surrounding white space.
pub(super) async fn read_token(path: PathBuf) -> Result<Secret, TokenFault> {
    let place = path.display().to_string();
    let fault = |what: String| TokenFault { what: format!("{what} in `{place}`"), retriable: false };
    let read = tokio::task::spawn_blocking(move || read(&path)).await;
    let text = read.unwrap_or_else(|stopped| Err(io::Error::other(stopped)));
    let text = text.map_err(|error| fault(format!("no readable token ({error})")))?;
    checked(text.trim()).ok_or_else(|| fault("expected one bearer token".to_owned()))
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let read = File::open(path)?.take(MAX_TOKEN.saturating_add(1)).read_to_string(&mut text)?;
    if u64::try_from(read).unwrap_or(u64::MAX) > MAX_TOKEN {
        return Err(io::Error::other(format!("more than {MAX_TOKEN} bytes")));
    }
    Ok(text)
}

/// Bytes of a token file.
const MAX_TOKEN: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_matches_the_rfc() {
        let token = Secret::new("vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==");
        let extension =
            |name: &str, value: &str| Extension { name: name.to_owned(), value: value.to_owned() };
        let extensions = [extension("host", "server.example.com"), extension("port", "143")];
        // RFC 7628, section 4.1, without the user's name, which Kafka takes from the token.
        assert_eq!(
            initial(&token, &extensions),
            "n,,\x01auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01host=server.example.com\
             \x01port=143\x01\x01"
        );
        assert_eq!(initial(&Secret::new("t"), &[]), "n,,\x01auth=Bearer t\x01\x01");
    }

    #[test]
    fn status_is_read_from_any_response_and_separators_are_rejected() {
        assert_eq!(status(br#"{"status":"invalid_token","scope":"s"}"#), "invalid_token");
        for other in [&b""[..], b"{}", b"[1]", b"{\"status\":1}", b"\xff"] {
            assert_eq!(status(other), "unknown");
        }
        for token in ["a.b-c_d~e+f/g==", "x"] {
            assert_eq!(checked(token), Some(Secret::new(token)));
        }
        for token in ["", "==", "a b", "a\x01b", "a=b", "ä"] {
            assert_eq!(checked(token), None, "{token}");
        }
    }

    #[test]
    fn expiry_is_read_from_the_token() {
        let token = |claims: &str| Secret::new(format!("e30.{}.", BASE64.encode(claims)));
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let since = |claims: &str| expired_since(&token(claims), now);
        assert_eq!(since(r#"{"exp":940}"#), Some(Duration::from_secs(60)));
        assert_eq!(since(r#"{"exp":999.5}"#), Some(Duration::from_millis(500)));
        for other in
            [r#"{"exp":1001}"#, r#"{"exp":-1}"#, r#"{"exp":1e300}"#, r#"{"exp":"1"}"#, "{}", "[]", ""]
        {
            assert_eq!(since(other), None, "{other}");
        }
        for other in ["", "opaque", "a.b", "e30.=.x"] {
            assert_eq!(expired_since(&Secret::new(other), now), None, "{other}");
        }
    }
}
