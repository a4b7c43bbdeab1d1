//! `security.protocol`, and the properties of `ssl.*`, `sasl.*` and `https.*` that it requires.

use super::properties::Properties;
use super::sasl::SASL;
use crate::address::SecurityProtocol;
use crate::sasl::Sasl;
use crate::tls::Tls;

/// The security of connections.
#[derive(Debug, Clone)]
pub(crate) struct Security {
    pub(crate) protocol: SecurityProtocol,
    pub(crate) tls: Option<Tls>,
    pub(crate) sasl: Option<Sasl>,
}

impl Properties<'_> {
    /// Takes all properties that secure a connection. None is ignored: that could send plaintext that was meant to be
    /// protected.
    pub(super) fn security(&mut self) -> Security {
        let name = self.take("security.protocol").unwrap_or("plaintext");
        let protocol = SecurityProtocol::parse(name);
        if protocol.is_none() {
            self.problem(
                "security.protocol",
                format!("expected `plaintext`, `ssl`, `sasl_plaintext` or `sasl_ssl`, got `{name}`"),
            );
        }
        let tls = if protocol.is_some_and(SecurityProtocol::has_tls) { self.tls() } else { None };
        let sasl = if protocol.is_some_and(SecurityProtocol::has_sasl) { self.sasl() } else { None };
        self.reject_the_rest(protocol);
        Security { protocol: protocol.unwrap_or(SecurityProtocol::Plaintext), tls, sasl }
    }

    /// Rejects security properties that were not taken: they have no effect or are not supported, unless another
    /// problem explains them.
    fn reject_the_rest(&mut self, protocol: Option<SecurityProtocol>) {
        let rest: Vec<&str> =
            self.unread.extract_if(.., |key, _| is_security(key)).map(|(key, _)| key).collect();
        for key in rest {
            let (has_effect, wanted): (fn(SecurityProtocol) -> bool, _) = if TLS.contains(&key) {
                (SecurityProtocol::has_tls, "`ssl` or `sasl_ssl`")
            } else if SASL.iter().any(|known| known.contains(&key)) {
                (SecurityProtocol::has_sasl, "`sasl_plaintext` or `sasl_ssl`")
            } else {
                self.problem(key, format!("is not supported: {}", alternative(key)));
                continue;
            };
            if let Some(protocol) = protocol.filter(|protocol| !has_effect(*protocol)) {
                let name = protocol.name();
                self.problem(
                    key,
                    format!("has no effect with `security.protocol` {name}: expected {wanted}"),
                );
            }
        }
    }
}

/// Whether a property protects the connection, so that ignoring it would be unsafe.
fn is_security(key: &str) -> bool {
    ["ssl.", "ssl_", "sasl.", "https.", "security.", "enable.ssl.", "enable.sasl."]
        .iter()
        .any(|prefix| key.starts_with(prefix))
        || key.contains(".ssl.")
        || key.contains(".sasl.")
}

/// The alternative to an unsupported property.
fn alternative(key: &str) -> &'static str {
    let of = |prefix| key.starts_with(prefix);
    if of("ssl.keystore.") || of("ssl.truststore.") {
        "use PEM files, with `openssl pkcs12 -in KEYSTORE -out client.pem`, for `ssl.certificate.location`, \
         `ssl.key.location` (with `ssl.key.password`) and `ssl.ca.location`; convert a JKS file before, with \
         `keytool -importkeystore -srckeystore OLD -destkeystore KEYSTORE -deststoretype pkcs12`"
    } else if key == "sasl.jaas.config" {
        "use its values as `sasl.mechanism`, `sasl.username` and `sasl.password`"
    } else if of("ssl.cipher.")
        || of("ssl.curves.")
        || of("ssl.sigalgs.")
        || of("ssl.provider")
        || of("ssl.engine")
    {
        "remove it: TLS 1.2 and 1.3 are used with safe algorithms only"
    } else if of("sasl.kerberos.") {
        "use `sasl.mechanism` PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER"
    } else if of("sasl.oauthbearer.") || of("enable.sasl.oauthbearer.") {
        "use `sasl.oauthbearer.method` `oidc` with client credentials, or `default` with a `file:` URL as \
         `sasl.oauthbearer.token.endpoint.url`"
    } else {
        "use `security.protocol`, `ssl.ca.*`, `ssl.certificate.*`, `ssl.key.*`, `ssl.crl.location`, \
         `ssl.endpoint.identification.algorithm`, `enable.ssl.certificate.verification`, `sasl.mechanism`, \
         `sasl.username`, `sasl.password` or `sasl.oauthbearer.*`"
    }
}

const TLS: [&str; 10] = [
    "enable.ssl.certificate.verification",
    "ssl.ca.location",
    "ssl.ca.pem",
    "ssl.certificate.location",
    "ssl.certificate.pem",
    "ssl.crl.location",
    "ssl.endpoint.identification.algorithm",
    "ssl.key.location",
    "ssl.key.password",
    "ssl.key.pem",
];

#[cfg(test)]
pub(crate) mod tests;
