//! librdkafka's properties, one by one: their names, their values, and which ones a configuration must not set.

mod foreign;

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN;
use sluicegate_reader::is_secret;

/// Whether librdkafka has a property of this name, of a client or of a topic.
pub(crate) fn is_property(name: &str) -> bool {
    // An empty value loads nothing and sets no pointer.
    !matches!(set(name, ""), Err(KafkaError::ClientConfig(RD_KAFKA_CONF_UNKNOWN, ..) | KafkaError::Nul(_)))
}

/// Checks that a property can stand in a configuration.
///
/// # Errors
/// Librdkafka does not know it, or it must not be set; with what may have been meant.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    if let Some(reason) = refusal(name) {
        return Err(reason.to_owned());
    }
    if is_property(name) {
        return Ok(());
    }
    let unknown = "is no property of librdkafka";
    if let Some((parent, _)) = name.rsplit_once('.').filter(|(parent, _)| is_settable(parent)) {
        return Err(format!("{unknown}; `{parent}` is, expected its value or {{ file = \"…\" }} there"));
    }
    let lower = name.to_ascii_lowercase();
    if let Some(instead) = foreign::instead_of(&lower) {
        return Err(format!("{unknown}: expected {instead}"));
    }
    let meant = if is_settable(&lower) { Some(lower) } else { similar(&lower) };
    Err(match meant {
        Some(meant) => format!("{unknown}, perhaps `{meant}` was meant"),
        None => {
            format!(
                "{unknown}: expected one of its names, such as `security.protocol`; docs/reference/kafka-properties.md has them"
            )
        }
    })
}

/// Why a property must not be set that librdkafka knows.
fn refusal(name: &str) -> Option<&'static str> {
    let refused = REFUSED.iter().find(|(refused, _)| *refused == name).map(|(_, reason)| *reason);
    refused.or_else(|| (name.ends_with("_cb") && is_property(name)).then_some(FOR_PROGRAMS))
}

fn is_settable(name: &str) -> bool {
    refusal(name).is_none() && is_property(name)
}

/// Checks the value of a property that has such a name. One of TLS and SASL is left to the reader, which says more of it.
///
/// # Errors
/// Librdkafka's reason, without the value where that is a secret.
pub(crate) fn check_value(name: &str, value: &str) -> Result<(), String> {
    if value.contains('\0') {
        return Err("has a NUL character".to_owned());
    }
    if is_security(name) {
        return Ok(());
    }
    match set(name, value) {
        Ok(()) => Ok(()),
        Err(KafkaError::ClientConfig(_, reason, ..)) if !is_secret(name) => {
            let reason = reason.trim_end().replace(char::is_control, " ");
            Err(format!("is refused by librdkafka: {reason}"))
        }
        Err(_) => Err("is refused by librdkafka".to_owned()),
    }
}

fn set(name: &str, value: &str) -> KafkaResult<()> {
    ClientConfig::new().set(name, value).create_native_config().map(drop)
}

fn is_security(name: &str) -> bool {
    name.split('.').any(|part| matches!(part, "https" | "sasl" | "security" | "ssl"))
}

/// A property whose name is one slip away: a character too many, too few, another one, or two that changed places.
fn similar(name: &str) -> Option<String> {
    if name.len() > MAX_NAME {
        return None;
    }
    let cuts = (0..=name.len()).filter_map(|at| name.split_at_checked(at));
    cuts.flat_map(|(head, tail)| slips(head, tail)).find(|slip| is_settable(slip))
}

/// What may have been meant by `head` and `tail` when the slip is where `tail` begins.
fn slips(head: &str, tail: &str) -> Vec<String> {
    let mut rest = tail.chars();
    let mut slips: Vec<String> = CHARACTERS.chars().map(|more| format!("{head}{more}{tail}")).collect();
    if let Some(first) = rest.next() {
        let rest = rest.as_str();
        slips.push(format!("{head}{rest}"));
        slips.extend(CHARACTERS.chars().map(|other| format!("{head}{other}{rest}")));
        let mut behind = rest.chars();
        slips.extend(behind.next().map(|second| format!("{head}{second}{first}{}", behind.as_str())));
    }
    slips
}

/// Properties that no configuration can set, or that it must not, and why.
pub(crate) const REFUSED: [(&str, &str); 12] = [
    ("default_topic_conf", FOR_PROGRAMS),
    ("interceptors", FOR_PROGRAMS),
    ("msg_order_cmp", FOR_PROGRAMS),
    ("opaque", FOR_PROGRAMS),
    ("plugin.library.paths", "would load code into the bridge: leave it out"),
    ("ssl_ca", "is for programs that use librdkafka: expected `ssl.ca.pem`"),
    ("ssl_certificate", "is for programs that use librdkafka: expected `ssl.certificate.pem`"),
    ("ssl_engine_callback_data", FOR_PROGRAMS),
    ("ssl_key", "is for programs that use librdkafka: expected `ssl.key.pem`"),
    ("test.mock.broker.rtt", FOR_TESTS),
    ("test.mock.num.brokers", FOR_TESTS),
    ("ut_handle_ProduceResponse", FOR_TESTS),
];
const FOR_PROGRAMS: &str = "is code of a program that uses librdkafka: leave it out";
const FOR_TESTS: &str = "is for librdkafka's own tests: leave it out";
/// What the names of properties are made of.
const CHARACTERS: &str = "._abcdefghijklmnopqrstuvwxyz";
/// No property's name is longer, in bytes.
const MAX_NAME: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const UNKNOWN: &str = "is no property of librdkafka: expected one of its names, such as `security.protocol`; \
                           docs/reference/kafka-properties.md has them";

    #[track_caller]
    fn check(name: &str, value: &str, want: &str) {
        let result = check_name(name).and_then(|()| check_value(name, value));
        assert_eq!(result.err().as_deref().unwrap_or_default(), want, "{name}");
    }

    #[test]
    fn properties_of_clients_and_topics_are_known_under_every_name() {
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
    fn of_tls_and_sasl_only_the_name_counts() {
        for name in [
            "security.protocol",
            "ssl.ca.location",
            "ssl.cipher.suites",
            "enable.ssl.certificate.verification",
            "https.ca.location",
            "sasl.mechanism",
            "sasl.kerberos.keytab",
            "sasl.oauthbearer.method",
            "sasl.oauthbearer.client.credentials.client.secret",
        ] {
            check(name, "anything", "");
        }
        check("ssl.nothing", "", UNKNOWN);
    }

    #[test]
    fn an_unknown_name_is_told_with_the_one_that_may_have_been_meant() {
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
            check(name, "x", &format!("is no property of librdkafka, perhaps `{similar}` was meant"));
        }
        check(
            "sasl.password.path",
            "x",
            "is no property of librdkafka; `sasl.password` is, expected its value or { file = \"…\" } there",
        );
        // One slip from what is refused.
        for name in ["ssl_cas", "dr_cbs", "opaq_ue", "ssl_Key_"] {
            check(name, "x", UNKNOWN);
        }
        for name in ["", "colour", "a\0b", "größe", &"x".repeat(1 << 20)] {
            check(name, "x", UNKNOWN);
        }
    }

    #[test]
    fn a_value_that_librdkafka_refuses_is_refused_with_its_reason() {
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
            check(name, value, &format!("is refused by librdkafka: {reason}"));
        }
        check("client.id", "a\0b", "has a NUL character");
        check("sasl.password", "a\0b", "has a NUL character");
    }

    #[test]
    fn what_would_load_code_or_call_it_is_never_set() {
        check("plugin.library.paths", "libc.so.6", "would load code into the bridge: leave it out");
        check("ut_handle_ProduceResponse", "x", FOR_TESTS);
        check("test.mock.num.brokers", "3", FOR_TESTS);
        check("ssl_key", "x", "is for programs that use librdkafka: expected `ssl.key.pem`");
        for name in ["rebalance_cb", "oauthbearer_token_refresh_cb", "ssl.certificate.verify_cb", "opaque"] {
            check(name, "x", FOR_PROGRAMS);
        }
    }
}
