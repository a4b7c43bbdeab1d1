//! Which properties are secrets.

/// Whether the value of a property of librdkafka is a secret, which no log, error or debug print may show.
///
/// Names are judged by their words, so that one which a later librdkafka adds counts too, and one that is misspelt may.
pub fn is_secret(property: &str) -> bool {
    WORDS.iter().any(|word| property.contains(word))
        || property.ends_with("key.pem")
        || WITHOUT_SUCH_A_WORD.contains(&property)
}

const WORDS: [&str; 3] = ["passphrase", "password", "secret"];
/// The first two hold passwords and tokens among other things.
const WITHOUT_SUCH_A_WORD: [&str; 3] = ["sasl.jaas.config", "sasl.oauthbearer.config", "ssl_key"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_their_names() {
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
