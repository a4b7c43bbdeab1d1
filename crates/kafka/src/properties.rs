//! Checks librdkafka's properties one by one: names, values, and those that a configuration must not set.

mod foreign;

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN;
use sluicegate_reader::is_secret;

use sluicegate_backend::suggestion::similar;

/// Whether librdkafka has a client or topic property with this name.
pub fn is_property(name: &str) -> bool {
    // An empty value loads nothing and sets no pointer.
    !matches!(set(name, ""), Err(KafkaError::ClientConfig(RD_KAFKA_CONF_UNKNOWN, ..) | KafkaError::Nul(_)))
}

/// Checks that a configuration can set this property.
///
/// # Errors
/// librdkafka does not know the property, or it must not be set. Suggests a similar name.
pub fn check_name(name: &str) -> Result<(), String> {
    if let Some(reason) = refusal(name) {
        return Err(reason.to_owned());
    }
    if is_property(name) {
        return Ok(());
    }
    let unknown = "is not a librdkafka property";
    if let Some((parent, _)) = name.rsplit_once('.').filter(|(parent, _)| is_settable(parent)) {
        return Err(format!("{unknown}: set `{parent}` to its value or to {{ file = \"…\" }}"));
    }
    let lower = name.to_ascii_lowercase();
    if let Some(instead) = foreign::instead_of(&lower) {
        return Err(format!("{unknown}: {instead}"));
    }
    Err(match similar(&lower, is_settable) {
        Some(meant) => format!("{unknown}, did you mean `{meant}`?"),
        None => format!("{unknown}, see docs/reference/kafka-properties.md"),
    })
}

/// Why a configuration must not set a property that librdkafka knows.
fn refusal(name: &str) -> Option<&'static str> {
    let refused = REFUSED.iter().find(|(refused, _)| *refused == name).map(|(_, reason)| *reason);
    refused.or_else(|| (name.ends_with("_cb") && is_property(name)).then_some(FOR_PROGRAMS))
}

fn is_settable(name: &str) -> bool {
    refusal(name).is_none() && is_property(name)
}

/// Checks a property's value. TLS and SASL are left to the reader, whose errors are more detailed.
///
/// # Errors
/// librdkafka's reason, without the value if it is a secret.
pub(crate) fn check_value(name: &str, value: &str) -> Result<(), String> {
    if value.contains('\0') {
        return Err("contains a NUL character".to_owned());
    }
    if is_security(name) {
        return Ok(());
    }
    match set(name, value) {
        Ok(()) => Ok(()),
        Err(KafkaError::ClientConfig(_, reason, ..)) if !is_secret(name) => {
            let reason = reason.trim_end().replace(char::is_control, " ");
            Err(format!("is rejected by librdkafka: {reason}"))
        }
        Err(_) => Err("is rejected by librdkafka".to_owned()),
    }
}

fn set(name: &str, value: &str) -> KafkaResult<()> {
    ClientConfig::new().set(name, value).create_native_config().map(drop)
}

fn is_security(name: &str) -> bool {
    name.split('.').any(|part| matches!(part, "https" | "sasl" | "security" | "ssl"))
}

/// Properties that a configuration cannot or must not set, and why.
pub const REFUSED: [(&str, &str); 12] = [
    ("default_topic_conf", FOR_PROGRAMS),
    ("interceptors", FOR_PROGRAMS),
    ("msg_order_cmp", FOR_PROGRAMS),
    ("opaque", FOR_PROGRAMS),
    ("plugin.library.paths", "would load code into the bridge: leave it out"),
    ("ssl_ca", "can only be set by a program: use `ssl.ca.pem`"),
    ("ssl_certificate", "can only be set by a program: use `ssl.certificate.pem`"),
    ("ssl_engine_callback_data", FOR_PROGRAMS),
    ("ssl_key", "can only be set by a program: use `ssl.key.pem`"),
    ("test.mock.broker.rtt", FOR_TESTS),
    ("test.mock.num.brokers", FOR_TESTS),
    ("ut_handle_ProduceResponse", FOR_TESTS),
];
const FOR_PROGRAMS: &str = "can only be set by a program: leave it out";
const FOR_TESTS: &str = "is for librdkafka's own tests: leave it out";

#[cfg(test)]
mod tests {
    use super::*;

    const UNKNOWN: &str = "is not a librdkafka property, see docs/reference/kafka-properties.md";

    #[track_caller]
    fn check(name: &str, value: &str, want: &str) {
        let result = check_name(name).and_then(|()| check_value(name, value));
        assert_eq!(result.err().as_deref().unwrap_or_default(), want, "{name}");
    }

    #[test]
    fn client_and_topic_properties_are_known_by_every_name() {
        for (name, value) in [
            ("acks", "all"),
            ("request.required.acks", "-1"),
            ("partitioner", "murmur2_random"),
            ("linger.ms", "0.5"),
            ("compression.codec", "zstd"),
            ("enable.idempotence", "TRUE"),
            ("group.id", ""),
            ("debug", "broker,security"),
        ] {
            check(name, value, "");
        }
    }

    #[test]
    fn tls_and_sasl_values_are_not_checked() {
        for name in "security.protocol ssl.ca.location ssl.cipher.suites enable.ssl.certificate.verification https.ca.location \
 sasl.mechanism sasl.kerberos.keytab sasl.oauthbearer.method \
 sasl.oauthbearer.client.credentials.client.secret".split(' ') {
            check(name, "anything", "");
        }
        check("ssl.nothing", "", UNKNOWN);
    }

    #[test]
    fn unknown_property_gets_a_suggestion() {
        for (name, similar) in [
            ("sasl.pasword", "sasl.password"),
            ("socket.timeouts.ms", "socket.timeout.ms"),
            ("lniger.ms", "linger.ms"),
            ("log.level", "log_level"),
            ("ssl.ca_location", "ssl.ca.location"),
            ("ack", "acks"),
            ("Security.Protocol", "security.protocol"),
            ("SASL_USERNAME", "sasl.username"),
        ] {
            check(name, "x", &format!("is not a librdkafka property, did you mean `{similar}`?"));
        }
        check(
            "sasl.password.path",
            "x",
            "is not a librdkafka property: set `sasl.password` to its value or to { file = \"…\" }",
        );
        // One typo from a refused name.
        for name in ["ssl_cas", "dr_cbs", "opaq_ue", "ssl_Key_"] {
            check(name, "x", UNKNOWN);
        }
        for name in ["", "colour", "a\0b", "größe", &"x".repeat(1 << 20)] {
            check(name, "x", UNKNOWN);
        }
    }

    #[test]
    fn invalid_value_is_rejected_with_librdkafkas_reason() {
        for (name, value, reason) in [
            ("linger.ms", "abc", "Invalid value for configuration property \"queue.buffering.max.ms\""),
            (
                "compression.codec",
                "foo",
                "Invalid value \"foo\" for configuration property \"compression.codec\"",
            ),
            (
                "compression.codec",
                "a\nb",
                "Invalid value \"a b\" for configuration property \"compression.codec\"",
            ),
            (
                "batch.size",
                "0",
                "Configuration property \"batch.size\" value 0 is outside allowed range 1..2147483647",
            ),
        ] {
            check(name, value, &format!("is rejected by librdkafka: {reason}"));
        }
        check("client.id", "a\0b", "contains a NUL character");
        check("sasl.password", "a\0b", "contains a NUL character");
    }

    #[test]
    fn properties_that_load_or_call_code_are_refused() {
        check("plugin.library.paths", "libc.so.6", "would load code into the bridge: leave it out");
        check("ut_handle_ProduceResponse", "x", FOR_TESTS);
        check("test.mock.num.brokers", "3", FOR_TESTS);
        check("ssl_key", "x", "can only be set by a program: use `ssl.key.pem`");
        for name in ["rebalance_cb", "oauthbearer_token_refresh_cb", "ssl.certificate.verify_cb", "opaque"] {
            check(name, "x", FOR_PROGRAMS);
        }
    }
}
