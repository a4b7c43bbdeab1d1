//! A cluster's section of the bridge's configuration.

use std::path::Path;

use pkcs8::pkcs5::pbes2::Parameters;
use pkcs8::{LineEnding, PrivateKeyInfoRef, SecretDocument};
use sluicegate_stack::kafka::secured::{Secured, password};
use sluicegate_stack::tokens::{self, Endpoint};

/// `[clusters.NAME]`, and variables that add to it.
#[derive(Clone)]
pub(crate) struct Section {
    /// Of small letters and digits, so that variables can name it.
    pub(crate) name: &'static str,
    /// In TOML.
    pub(crate) properties: String,
    pub(crate) environment: Vec<(String, String)>,
}

impl Section {
    pub(crate) fn new(name: &'static str, bootstrap: &str, protocol: &str) -> Self {
        let empty = Self { name, properties: String::new(), environment: Vec::new() };
        empty.with("bootstrap.servers", bootstrap).with("security.protocol", protocol)
    }

    /// A value of its own.
    pub(crate) fn with(self, property: &str, value: &str) -> Self {
        self.line(property, &toml::Value::from(value).to_string())
    }

    /// A value that is the text of a file.
    pub(crate) fn with_file(self, property: &str, path: &Path) -> Self {
        self.line(property, &format!("{{ file = {} }}", toml::Value::from(path.to_str().unwrap())))
    }

    /// A value from the environment.
    pub(crate) fn with_variable(mut self, property: &str, value: &str) -> Self {
        self.environment.push((self.variable(property), value.to_owned()));
        self
    }

    /// A value from a file that the environment names.
    pub(crate) fn with_variable_file(mut self, property: &str, path: &Path) -> Self {
        let variable = format!("{}__FILE", self.variable(property));
        self.environment.push((variable, path.to_str().unwrap().to_owned()));
        self
    }

    /// The user with a name and the password that the broker knows.
    pub(crate) fn user(self, mechanism: &str, user: &str) -> Self {
        self.user_with(mechanism, user, &password(user))
    }

    /// The user with a name and any password.
    pub(crate) fn user_with(self, mechanism: &str, user: &str, password: &str) -> Self {
        self.with("sasl.mechanism", mechanism).with("sasl.username", user).with("sasl.password", password)
    }

    /// A token from an endpoint, for [`CLIENT`].
    pub(crate) fn oidc(self, url: &str, secret: &str) -> Self {
        self.with("sasl.mechanism", "OAUTHBEARER")
            .with("sasl.oauthbearer.method", "oidc")
            .with("sasl.oauthbearer.token.endpoint.url", url)
            .with("sasl.oauthbearer.client.id", CLIENT)
            .with("sasl.oauthbearer.client.secret", secret)
    }

    /// A token from a file.
    pub(crate) fn token_file(self, path: &Path) -> Self {
        self.with("sasl.mechanism", "OAUTHBEARER")
            .with("sasl.oauthbearer.token.endpoint.url", &format!("file://{}", path.display()))
    }

    /// The authority of the brokers' certificates, inline.
    pub(crate) fn trusting(self, kafka: &Secured) -> Self {
        self.with("ssl.ca.pem", &kafka.authority.pem())
    }

    fn line(mut self, property: &str, value: &str) -> Self {
        self.properties.push_str(&format!("\"{property}\" = {value}\n"));
        self
    }

    fn variable(&self, property: &str) -> String {
        let (name, property) = (self.name.to_uppercase(), property.to_uppercase().replace('.', "_"));
        format!("SLUICEGATE_CLUSTERS__{name}__{property}")
    }
}

/// A token endpoint that gives [`CLIENT`] tokens of a user; with TLS, of the brokers' authority.
pub(crate) fn endpoint(kafka: &Secured, secret: &str, subject: &str, with_tls: bool) -> Endpoint {
    let certificate = with_tls.then(|| kafka.authority.server("localhost").unwrap());
    let (signer, certificate) = (&kafka.signer, certificate.as_ref());
    Endpoint::start(tokens::Setup { signer, id: CLIENT, secret, subject, certificate }).unwrap()
}

/// A key in PEM as OpenSSL encrypts one: PBES2 with PBKDF2 and AES (RFC 8018).
pub(crate) fn encrypted(key: &str, password: &str) -> String {
    let (_, document) = SecretDocument::from_pem(key).unwrap();
    let key = document.decode_msg::<PrivateKeyInfoRef<'_>>().unwrap();
    let how = Parameters::generate_pbkdf2_sha256_aes256cbc(2048, b"of a test", [7; 16]).unwrap();
    let encrypted = key.encrypt_with_params(how, password).unwrap();
    encrypted.to_pem("ENCRYPTED PRIVATE KEY", LineEnding::LF).unwrap().to_string()
}

/// Whom the token endpoints know.
const CLIENT: &str = "bridge";
