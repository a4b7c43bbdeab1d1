//! Recognizes secret properties by name.

/// Whether the value of a librdkafka property is a secret, which must not appear in logs, errors or debug output.
///
/// It matches words in the name, so that most new and misspelt properties count as well.
pub fn is_secret(property: &str) -> bool {
    WORDS.iter().any(|word| property.contains(word))
        || property.ends_with("key.pem")
        || OTHERS.contains(&property)
}

const WORDS: [&str; 3] = ["passphrase", "password", "secret"];
/// The first two contain passwords and tokens, among others.
const OTHERS: [&str; 3] = ["sasl.jaas.config", "sasl.oauthbearer.config", "ssl_key"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_recognized_by_name() {
        for secret in [
            "sasl.jaas.config",
            "sasl.oauthbearer.assertion.private.key.passphrase",
            "sasl.oauthbearer.assertion.private.key.pem",
            "sasl.oauthbearer.client.credentials.client.secret",
            "sasl.oauthbearer.client.secret",
            "sasl.oauthbearer.config",
            "sasl.password",
            "ssl.key.password",
            "ssl.key.pem",
            "ssl.keystore.password",
            "ssl_key",
        ] {
            assert!(is_secret(secret), "{secret}");
        }
        for shown in ["bootstrap.servers", "sasl.username", "ssl.ca.pem", "ssl.key.location"] {
            assert!(!is_secret(shown), "{shown}");
        }
    }
}
