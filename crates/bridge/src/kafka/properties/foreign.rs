//! Names that are not librdkafka's but that its users know: APISIX's attributes and the Java client's properties.

/// What is expected instead of such a name.
pub(super) fn instead_of(name: &str) -> Option<&'static str> {
    INSTEAD.iter().find(|(foreign, _)| foreign.contains(&name)).map(|(_, instead)| *instead)
}

const INSTEAD: [(&[&str], &str); 14] = [
    (&["broker_list", "brokers"], "`bootstrap.servers`"),
    (&["enable_tls", "tls"], "`security.protocol`, as `ssl` or `sasl_ssl`"),
    (
        &["enable_sasl", "sasl"],
        "`security.protocol`, as `sasl_plaintext` or `sasl_ssl`, and `sasl.mechanism`",
    ),
    (&["ssl_verify", "tls.verify"], "`enable.ssl.certificate.verification`"),
    (&["sasl.user", "sasl_user"], "`sasl.username`"),
    (&["ssl.ca", "ssl_trusted_certificate"], "`ssl.ca.location`"),
    (&["ssl.certificate"], "`ssl.certificate.location`"),
    (&["ssl.key"], "`ssl.key.location`"),
    (&["ssl.keystore.type"], "PEM, in `ssl.certificate.location` and `ssl.key.location`"),
    (&["ssl.keystore.certificate.chain"], "`ssl.certificate.pem`"),
    (&["ssl.keystore.key"], "`ssl.key.pem`"),
    (&["ssl.truststore.password", "ssl.truststore.type"], "PEM, in `ssl.ca.location`"),
    (&["ssl.truststore.certificates"], "`ssl.ca.pem`"),
    (
        &[
            "sasl.client.callback.handler.class",
            "sasl.login.callback.handler.class",
            "sasl.login.class",
            "security.providers",
            "ssl.enabled.protocols",
            "ssl.engine.factory.class",
            "ssl.keymanager.algorithm",
            "ssl.protocol",
            "ssl.provider",
            "ssl.secure.random.implementation",
            "ssl.trustmanager.algorithm",
        ],
        "it left out: no code is loaded, and TLS 1.2 and 1.3 are agreed on with safe algorithms only",
    ),
];

#[cfg(test)]
mod tests {
    use super::super::{check_name, is_property};
    use super::*;

    #[test]
    fn what_is_expected_instead_can_be_given() {
        for (names, instead) in INSTEAD {
            for name in names {
                let problem = format!("is no property of librdkafka: expected {instead}");
                assert_eq!(check_name(name), Err(problem), "{name}");
            }
            for name in instead.split('`').skip(1).step_by(2).filter(|quoted| quoted.contains('.')) {
                assert!(is_property(name) && check_name(name).is_ok(), "{name}");
            }
        }
    }
}
