//! `sasl.*`: the mechanism and the credentials.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use hyper::Uri;

use super::properties::Properties;
use crate::redact::Secret;
use crate::sasl::{ClientCredentials, Credentials, Extension, Hash, Oidc, Sasl, TokenSource};

impl<'a> Properties<'a> {
    /// The mechanism and its settings; `None` if there is a problem.
    pub(super) fn sasl(&mut self) -> Option<Sasl> {
        let Some(name) = self.either("sasl.mechanism", "sasl.mechanisms") else {
            self.problem("sasl.mechanism", format!("is required: expected {MECHANISMS}"));
            return None;
        };
        // Case-sensitive, as in librdkafka and in brokers.
        let by_password = match name {
            "OAUTHBEARER" => return self.oauthbearer(),
            "PLAIN" => Sasl::Plain,
            "SCRAM-SHA-256" => |who| Sasl::Scram(Hash::Sha256, who),
            "SCRAM-SHA-512" => |who| Sasl::Scram(Hash::Sha512, who),
            "GSSAPI" => {
                let problem = format!("`GSSAPI` is not supported: expected {MECHANISMS}");
                self.problem("sasl.mechanism", problem);
                return None;
            }
            other => {
                self.problem("sasl.mechanism", format!("expected {MECHANISMS}, got `{other}`"));
                return None;
            }
        };
        let why = format!("has no effect with `sasl.mechanism` {name}: expected OAUTHBEARER");
        self.reject(&OAUTHBEARER, &why);
        self.reject(&OIDC, &why);
        self.credentials().map(by_password)
    }

    fn credentials(&mut self) -> Option<Credentials> {
        let username = self.without_nul("sasl.username", "the name of a user");
        let password = self.without_nul("sasl.password", "the user's password");
        Some(Credentials { username: username?.to_owned(), password: Secret::new(password?) })
    }

    /// RFC 4616, section 2: NUL separates name and password, so neither may contain it.
    fn without_nul(&mut self, key: &str, what: &str) -> Option<&'a str> {
        let value = self.needed(key, what)?;
        if value.contains('\0') {
            self.problem(key, "contains a NUL character: expected text without one");
            return None;
        }
        Some(value)
    }

    fn oauthbearer(&mut self) -> Option<Sasl> {
        self.reject(&PASSWORD, "has no effect with `sasl.mechanism` OAUTHBEARER: remove it");
        let extensions = self.extensions();
        let tokens = match self.take("sasl.oauthbearer.method").map(str::to_ascii_lowercase).as_deref() {
            None | Some("default") => self.token_file(),
            Some("oidc") => self.oidc(),
            Some(other) => {
                self.problem(
                    "sasl.oauthbearer.method",
                    format!("expected `default` or `oidc`, got `{other}`"),
                );
                None
            }
        };
        Some(Sasl::OAuthBearer(tokens?, extensions?))
    }

    /// KIP-768: a `file:` URL names the file of the token.
    fn token_file(&mut self) -> Option<TokenSource> {
        self.reject(&OIDC, "has no effect with `sasl.oauthbearer.method` default: expected `oidc`");
        let key = "sasl.oauthbearer.token.endpoint.url";
        let url = self.needed(key, "`file:///path` of a file that holds the token")?;
        match url.strip_prefix("file://").filter(|path| path.starts_with('/')) {
            Some(path) => Some(TokenSource::File(PathBuf::from(path))),
            None => {
                self.problem(
                    key,
                    "expected `file:///path` of a file that holds the token; an HTTP endpoint needs \
                     `sasl.oauthbearer.method` oidc",
                );
                None
            }
        }
    }

    fn oidc(&mut self) -> Option<TokenSource> {
        match self.take("sasl.oauthbearer.grant.type") {
            None | Some("client_credentials") => {}
            Some(other) => self.problem(
                "sasl.oauthbearer.grant.type",
                format!("expected `client_credentials`, no other value is supported, got `{other}`"),
            ),
        }
        let kind = "sasl.oauthbearer.metadata.authentication.type";
        if let Some(other) = self.take(kind).filter(|value| !value.eq_ignore_ascii_case("none")) {
            self.problem(kind, format!("expected `none`, got `{other}`"));
        }
        let endpoint = self.endpoint();
        let id = self.aliased(
            "sasl.oauthbearer.client.id",
            "sasl.oauthbearer.client.credentials.client.id",
            "the client's identifier",
        );
        let secret = self.aliased(
            "sasl.oauthbearer.client.secret",
            "sasl.oauthbearer.client.credentials.client.secret",
            "the client's secret",
        );
        let scope = self.take("sasl.oauthbearer.scope").map(str::to_owned);
        let endpoint = endpoint?;
        let https = endpoint.scheme_str() == Some("https");
        let tls = if https { Some(self.https()?) } else { None };
        self.reject(
            &["https.ca.location", "https.ca.pem"],
            "has no effect with an `http:` endpoint: expected an `https:` one",
        );
        let credentials = ClientCredentials { id: id?.to_owned(), secret: Secret::new(secret?), scope };
        Some(TokenSource::Oidc(Arc::new(Oidc::new(endpoint, tls, credentials))))
    }

    fn endpoint(&mut self) -> Option<Uri> {
        let key = "sasl.oauthbearer.token.endpoint.url";
        let text = self.needed(key, ENDPOINT)?;
        let url = text.parse::<Uri>().ok().filter(|url| {
            let http = matches!(url.scheme_str(), Some("http" | "https"));
            http && url.authority().is_some_and(|authority| !authority.as_str().contains('@'))
        });
        if url.is_none() {
            self.problem(key, format!("expected {ENDPOINT}"));
        }
        if url.as_ref().is_some_and(|url| url.scheme_str() == Some("http") && !is_loopback(url)) {
            self.problem(
                key,
                "would send the client's secret unencrypted: expected an `https:` URL, or an `http:` one of \
                 `localhost`, 127.0.0.0/8 or [::1]",
            );
            return None;
        }
        url
    }

    /// `name=value,…`, sent to brokers with the token.
    fn extensions(&mut self) -> Option<Vec<Extension>> {
        let key = "sasl.oauthbearer.extensions";
        let text = self.take(key).unwrap_or_default();
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let extensions: Option<Vec<Extension>> = parts.map(extension).collect();
        if extensions.is_none() {
            self.problem(
                key,
                "expected `name=value,…`: names of letters, not `auth`, and values of visible ASCII characters",
            );
        }
        extensions
    }

    fn aliased(&mut self, key: &str, alias: &str, what: &str) -> Option<&'a str> {
        let value = self.either(key, alias).filter(|value| !value.is_empty());
        if value.is_none() {
            self.problem(key, format!("is required: expected {what}"));
        }
        value
    }

    fn reject(&mut self, keys: &[&str], why: &str) {
        for key in keys {
            if self.take(key).is_some() {
                self.problem(key, why);
            }
        }
    }
}

/// Whether a URL is of this host. Names are not resolved, because the result could change.
fn is_loopback(url: &Uri) -> bool {
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

/// RFC 7628, section 3.1: `key = 1*(ALPHA)`, `value = *(VCHAR / SP / HTAB / CR / LF)`, and `auth` is the token's.
fn extension(text: &str) -> Option<Extension> {
    let (name, value) = text.split_once('=')?;
    let named = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphabetic()) && name != "auth";
    let visible = value.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
    (named && visible).then(|| Extension { name: name.to_owned(), value: value.to_owned() })
}

const MECHANISMS: &str = "`PLAIN`, `SCRAM-SHA-256`, `SCRAM-SHA-512` or `OAUTHBEARER`";

const ENDPOINT: &str = "an `https://host[:port]/path` URL without user name";

/// All supported SASL properties.
pub(super) const SASL: [&[&str]; 4] = [&MECHANISM, &PASSWORD, &OAUTHBEARER, &OIDC];

const MECHANISM: [&str; 2] = ["sasl.mechanism", "sasl.mechanisms"];

const PASSWORD: [&str; 2] = ["sasl.username", "sasl.password"];

const OAUTHBEARER: [&str; 3] =
    ["sasl.oauthbearer.extensions", "sasl.oauthbearer.method", "sasl.oauthbearer.token.endpoint.url"];

const OIDC: [&str; 9] = [
    "https.ca.location",
    "https.ca.pem",
    "sasl.oauthbearer.client.credentials.client.id",
    "sasl.oauthbearer.client.credentials.client.secret",
    "sasl.oauthbearer.client.id",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.grant.type",
    "sasl.oauthbearer.metadata.authentication.type",
    "sasl.oauthbearer.scope",
];
