//! A producer's settings, from its cluster's properties.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::producer::BaseProducer;
use sluicegate_reader::is_secret;

/// A producer's settings: the cluster's properties over the bridge's defaults.
#[derive(Clone)]
pub(crate) struct Settings {
    properties: BTreeMap<String, String>,
    /// Bytes of records that can be queued.
    pub(super) queue_bytes: usize,
    /// Records that can be queued.
    pub(super) queue_records: usize,
    /// The time in which a record must be acknowledged.
    pub(super) timeout: Duration,
    /// The cluster's reader, which checks brokers and obtains tokens.
    pub(super) reader: Option<sluicegate_reader::Config>,
}

impl Settings {
    /// Takes properties that librdkafka accepts one by one.
    ///
    /// # Errors
    /// Every property that would weaken acknowledgements or the order of records, and what was expected.
    pub(crate) fn parse(properties: &BTreeMap<String, String>) -> Result<Self, Vec<(String, String)>> {
        let mut problems = Vec::new();
        let mut settings = BTreeMap::new();
        for (name, value) in properties {
            // A password can begin or end with a space.
            let value = if is_secret(name) { value } else { value.trim() };
            if let Some(expected) = expected(name, value) {
                problems.push((name.clone(), expected.to_owned()));
            }
            settings.insert(name.clone(), value.to_owned());
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        for (names, value) in DEFAULTS {
            if let [name, ..] = names
                && !names.iter().any(|name| settings.contains_key(*name))
            {
                settings.insert((*name).to_owned(), (*value).to_owned());
            }
        }
        if needs_system_ca(&settings, |name| std::env::var_os(name).is_some()) {
            settings.insert("ssl.ca.location".to_owned(), "probe".to_owned());
        }
        let kbytes = settings.get(QUEUE_KBYTES).and_then(|kbytes| kbytes.parse::<usize>().ok());
        let queue_bytes = kbytes.unwrap_or(usize::MAX).saturating_mul(1024).min(MAX_QUEUE_BYTES);
        let records = settings.get(QUEUE_RECORDS).and_then(|records| records.parse::<usize>().ok());
        // In librdkafka, 0 means no limit.
        let queue_records = records.map_or(DEFAULT_QUEUE_RECORDS, |records| match records {
            0 => usize::MAX,
            _ => records,
        });
        let timeout =
            ["message.timeout.ms", "delivery.timeout.ms"].iter().find_map(|name| settings.get(*name));
        let timeout =
            timeout.and_then(|millis| millis.parse().ok()).map_or(DEFAULT_TIMEOUT, Duration::from_millis);
        Ok(Self { properties: settings, queue_bytes, queue_records, timeout, reader: None })
    }

    /// Uses only brokers that `reader` has checked, and authenticates with its tokens.
    pub(crate) fn with_reader(self, reader: &sluicegate_reader::Config) -> Self {
        Self { reader: Some(reader.clone()), ..self }
    }

    /// Replaces the bootstrap brokers. Without any, a producer connects to nothing.
    pub(super) fn with_brokers(mut self, brokers: &[String]) -> Self {
        self.properties.retain(|name, _| !BROKERS.contains(&name.as_str()));
        if !brokers.is_empty() {
            let [name, _] = BROKERS;
            self.properties.insert(name.to_owned(), brokers.join(","));
        }
        self
    }

    /// Creates and drops a producer that connects to nothing: some properties only conflict in combination.
    ///
    /// # Errors
    /// Why no producer can be created, without secrets.
    pub(crate) fn check_together(&self) -> Result<(), String> {
        if self.properties.contains_key("sasl.oauthbearer.extensions") {
            return Err("`sasl.oauthbearer.extensions` is not supported for writing: leave it out".to_owned());
        }
        let made: KafkaResult<BaseProducer> = self.clone().with_brokers(&[]).config().create();
        made.map(drop).map_err(|error| self.reason(&error))
    }

    /// Whether keys have the partitions of the Java client.
    pub(super) fn places_as_java(&self) -> bool {
        let partitioner = self.properties.get(PARTITIONER);
        partitioner.is_some_and(|name| matches!(name.as_str(), "murmur2" | "murmur2_random"))
    }

    /// Why a producer cannot be created, without secrets.
    pub(super) fn reason(&self, error: &KafkaError) -> String {
        let reason = match error {
            // The error's own text would show the value.
            KafkaError::ClientConfig(_, reason, name, _) => format!("`{name}` is rejected: {reason}"),
            KafkaError::ClientCreation(reason) => reason.clone(),
            error => error.to_string(),
        };
        self.redact(reason.trim_end()).replace(char::is_control, " ")
    }

    /// Removes secrets from a text of librdkafka or a broker.
    pub(super) fn redact(&self, text: &str) -> String {
        let secrets = self.properties.iter().filter(|(name, value)| is_secret(name) && !value.is_empty());
        secrets.fold(text.to_owned(), |text, (_, secret)| text.replace(secret, "…"))
    }

    pub(super) fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        // librdkafka is built without its own token retrieval.
        let has_tokens = self.reader.as_ref().is_some_and(sluicegate_reader::Config::has_tokens);
        let is_of_tokens = |name: &str| name.starts_with("sasl.oauthbearer.") || name.starts_with("https.");
        for (name, value) in &self.properties {
            if !has_tokens || !is_of_tokens(name) {
                config.set(name, value);
            }
        }
        config
    }
}

/// Prints names only: values can be secrets.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.properties.keys()).finish()
    }
}

/// The expected value, if `value` would weaken acknowledgements or the order of records.
fn expected(name: &str, value: &str) -> Option<&'static str> {
    let is_true = || ["true", "t", "1"].iter().any(|word| value.eq_ignore_ascii_case(word));
    let number = || value.parse::<i64>().unwrap_or_default();
    match name {
        "acks" | "request.required.acks" if !matches!(value, "all" | "-1") => {
            Some("expected `all`: an acknowledged record must be in Kafka")
        }
        "enable.idempotence" if !is_true() => Some("expected `true`: retries must not write a record twice"),
        "delivery.report.only.error" if is_true() => {
            Some("expected `false`: every record needs a delivery report")
        }
        "allow.auto.create.topics" if is_true() => Some("expected `false`: writes must not create topics"),
        "max.in.flight" | "max.in.flight.requests.per.connection" if number() > 5 => {
            Some("expected at most 5: with more, Kafka does not keep the order of records")
        }
        "retries" | "message.send.max.retries" if number() < 1 => {
            Some("expected at least 1: limit retries with `message.timeout.ms`")
        }
        "queuing.strategy" if !value.eq_ignore_ascii_case("fifo") => {
            Some("expected `fifo`: records must keep their order")
        }
        // librdkafka accepts other notations, but the bridge derives its own bound from this number.
        QUEUE_KBYTES if value.parse::<usize>().is_err() => Some("expected a decimal number"),
        "message.timeout.ms" | "delivery.timeout.ms" if number() < 1 => {
            Some("expected at least 1 ms: clients wait for the answer")
        }
        "transactional.id" => Some("is for transactions, which the bridge does not use: leave it out"),
        _ => None,
    }
}

/// Whether librdkafka must probe for the system's CAs. Its OpenSSL is built with paths that no system has, and follows
/// the environment as the reader does.
fn needs_system_ca(settings: &BTreeMap<String, String>, in_environment: impl Fn(&str) -> bool) -> bool {
    let protocol = settings.get("security.protocol").map(|protocol| protocol.to_ascii_lowercase());
    protocol.is_some_and(|protocol| protocol.ends_with("ssl"))
        && !["ssl.ca.location", "ssl.ca.pem"].iter().any(|name| settings.contains_key(*name))
        && !["SSL_CERT_FILE", "SSL_CERT_DIR"].iter().any(|name| in_environment(name))
}

/// The bridge's own defaults, each with all names of its property.
pub const DEFAULTS: &[(&[&str], &str)] = &[
    (&["acks", "request.required.acks"], "all"),
    (&["allow.auto.create.topics"], "false"),
    (&["client.id"], "sluicegate"),
    (&["enable.idempotence"], "true"),
    // Shorter than librdkafka's 5: clients wait for it, and records batch anyway while others are in flight.
    (&["linger.ms", "queue.buffering.max.ms"], "1"),
    // More than librdkafka's 1,000,000: the broker decides whether to accept a request of 1 MiB with its key and
    // headers.
    (&["message.max.bytes"], "2097152"),
    // Shorter than librdkafka's five minutes: clients wait for the answer.
    (&["message.timeout.ms", "delivery.timeout.ms"], "30000"),
    // Less than librdkafka's 1 GiB: bounds the memory that an unavailable cluster costs.
    (&[QUEUE_KBYTES], "65536"),
    // The choice of the Java client and those after it: one key has one partition, whoever writes it. librdkafka's own is CRC32.
    (&[PARTITIONER], "murmur2_random"),
];
/// Both names of the property for bootstrap brokers.
const BROKERS: [&str; 2] = ["bootstrap.servers", "metadata.broker.list"];
const QUEUE_KBYTES: &str = "queue.buffering.max.kbytes";
const PARTITIONER: &str = "partitioner";
const QUEUE_RECORDS: &str = "queue.buffering.max.messages";
/// As in [`DEFAULTS`].
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// librdkafka's own default.
const DEFAULT_QUEUE_RECORDS: usize = 100_000;
/// More than librdkafka's own maximum.
const MAX_QUEUE_BYTES: usize = 1 << 41;

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::TcpListener;

    use super::*;

    fn properties(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[track_caller]
    fn check(pairs: &[(&str, &str)], want: &[(&str, &str)]) {
        let settings = Settings::parse(&properties(pairs)).unwrap();
        let config = settings.config();
        for (name, value) in want {
            assert_eq!(config.get(name), Some(*value), "{name}");
        }
    }

    #[test]
    fn given_properties_override_defaults() {
        check(
            &[("bootstrap.servers", " a:1 "), ("batch.size", "1000")],
            &[
                ("bootstrap.servers", "a:1"),
                ("batch.size", "1000"),
                ("linger.ms", "1"),
                ("acks", "all"),
                ("enable.idempotence", "true"),
                ("message.timeout.ms", "30000"),
                ("queue.buffering.max.kbytes", "65536"),
                ("message.max.bytes", "2097152"),
                ("allow.auto.create.topics", "false"),
                ("partitioner", "murmur2_random"),
            ],
        );
        let given = [("client.id", "x"), ("message.max.bytes", "1000")];
        check(&[("delivery.timeout.ms", "10"), given[0], given[1]], &given);
        let given = [("delivery.timeout.ms", "10"), ("queue.buffering.max.ms", "5")];
        let given = Settings::parse(&properties(&given)).unwrap();
        assert_eq!(given.config().get("message.timeout.ms"), None);
        assert_eq!(given.config().get("linger.ms"), None);
        assert_eq!(given.queue_bytes, 64 << 20);
    }

    #[test]
    fn tls_probes_for_system_cas_unless_others_are_given() {
        let needs = |pairs: &[(&str, &str)]| needs_system_ca(&properties(pairs), |_| false);
        assert!(needs(&[("security.protocol", "ssl")]) && needs(&[("security.protocol", "SASL_SSL")]));
        assert!(!needs(&[]) && !needs(&[("security.protocol", "sasl_plaintext")]));
        for given in [("ssl.ca.location", "/ca.pem"), ("ssl.ca.pem", "x")] {
            assert!(!needs(&[("security.protocol", "ssl"), given]));
        }
        assert!(
            !needs_system_ca(&properties(&[("security.protocol", "ssl")]), |name| name == "SSL_CERT_FILE")
        );
    }

    #[test]
    fn properties_that_weaken_acknowledgements_are_refused() {
        let refused = [
            ("acks", "1"),
            ("request.required.acks", "0"),
            ("enable.idempotence", "false"),
            ("delivery.report.only.error", "true"),
            ("allow.auto.create.topics", "true"),
            ("max.in.flight", "6"),
            ("retries", "0"),
            ("queuing.strategy", "lifo"),
            ("transactional.id", "x"),
            ("queue.buffering.max.kbytes", "0x10000"),
            ("message.timeout.ms", "0"),
        ];
        let problems = Settings::parse(&properties(&refused)).unwrap_err();
        let mut names: Vec<&str> = problems.iter().map(|(name, _)| name.as_str()).collect();
        let mut want = refused.map(|(name, _)| name);
        names.sort_unstable();
        want.sort_unstable();
        assert_eq!(names, want);
        for (name, value) in [("acks", "-1"), ("enable.idempotence", "T"), ("retries", "3")] {
            assert!(Settings::parse(&properties(&[(name, value)])).is_ok(), "{name}");
        }
    }

    #[test]
    fn conflicting_properties_are_refused_without_secrets() {
        let checked = |pairs: &[(&str, &str)]| Settings::parse(&properties(pairs)).unwrap().check_together();
        assert_eq!(checked(&[("bootstrap.servers", "127.0.0.1:9")]), Ok(()));
        assert!(checked(&[("sasl.oauthbearer.extensions", "a=b")]).unwrap_err().contains("extensions"));
        let key = checked(&[("security.protocol", "ssl"), ("ssl.key.pem", "no-key-at-all")]).unwrap_err();
        assert!(key.contains("ssl.key.pem") && !key.contains("no-key-at-all"), "{key}");
        let settings = Settings::parse(&properties(&[("sasl.password", "hidden")])).unwrap();
        let shown = format!("{settings:?}");
        assert!(shown.contains("sasl.password") && !shown.contains("hidden"), "{shown}");
    }

    #[test]
    fn check_connects_to_nothing() {
        let broker = TcpListener::bind("127.0.0.1:0").unwrap();
        broker.set_nonblocking(true).unwrap();
        let address = broker.local_addr().unwrap().to_string();
        for name in BROKERS {
            assert_eq!(Settings::parse(&properties(&[(name, &address)])).unwrap().check_together(), Ok(()));
            assert_eq!(broker.accept().map(drop).unwrap_err().kind(), ErrorKind::WouldBlock, "{name}");
        }
    }

    #[test]
    fn checked_brokers_replace_the_given_ones() {
        for name in BROKERS {
            let settings = Settings::parse(&properties(&[(name, "a:1,b:1")])).unwrap();
            let config = settings.with_brokers(&["b:1".to_owned()]).config();
            let brokers = BROKERS.map(|name| config.get(name));
            assert_eq!(brokers, [Some("b:1"), None]);
        }
    }
}
