//! Names that users know from elsewhere: APISIX's attributes and the Java client's properties.

/// The advice to give for such a name.
pub(super) fn instead_of(name: &str) -> Option<&'static str> {
    INSTEAD.iter().find(|(foreign, _)| foreign.contains(&name)).map(|(_, instead)| *instead)
}

const INSTEAD: [(&[&str], &str); 14] = [
    (&["broker_list", "brokers"], "use `bootstrap.servers`"),
    (&["enable_tls", "tls"], "set `security.protocol` to `ssl` or `sasl_ssl`"),
    (
        &["enable_sasl", "sasl"],
        "set `security.protocol` to `sasl_plaintext` or `sasl_ssl`, and set `sasl.mechanism`",
    ),
    (&["ssl_verify", "tls.verify"], "use `enable.ssl.certificate.verification`"),
    (&["sasl.user", "sasl_user"], "use `sasl.username`"),
    (&["ssl.ca", "ssl_trusted_certificate"], "use `ssl.ca.location`"),
    (&["ssl.certificate"], "use `ssl.certificate.location`"),
    (&["ssl.key"], "use `ssl.key.location`"),
    (&["ssl.keystore.type"], "use PEM files in `ssl.certificate.location` and `ssl.key.location`"),
    (&["ssl.keystore.certificate.chain"], "use `ssl.certificate.pem`"),
    (&["ssl.keystore.key"], "use `ssl.key.pem`"),
    (&["ssl.truststore.password", "ssl.truststore.type"], "use a PEM file in `ssl.ca.location`"),
    (&["ssl.truststore.certificates"], "use `ssl.ca.pem`"),
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
        "leave it out: the bridge loads no code, and negotiates TLS 1.2 or 1.3 with safe algorithms only",
    ),
];

#[cfg(test)]
mod tests {
    use super::super::{check_name, is_property};
    use super::*;

    #[test]
    fn suggested_properties_can_be_set() {
        for (names, instead) in INSTEAD {
            for name in names {
                let problem = format!("is not a librdkafka property: {instead}");
                assert_eq!(check_name(name), Err(problem), "{name}");
            }
            for name in instead.split('`').skip(1).step_by(2).filter(|quoted| quoted.contains('.')) {
                assert!(is_property(name) && check_name(name).is_ok(), "{name}");
            }
        }
    }
}
