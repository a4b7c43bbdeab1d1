//! The kinds of clusters, and the keys of each.

use sluicegate_backend::System;
use sluicegate_kafka::properties;

use super::nats;

/// The key that says which system a cluster is.
pub(super) const KIND: &str = "kind";

/// The key of a Kafka cluster that names the registry of its schemas.
pub(super) const SCHEMAS: &str = "schemas";

/// Whether a cluster of some system has this key.
pub(super) fn is_cluster_key(name: &str) -> bool {
    name == KIND || name == SCHEMAS || KINDS.iter().any(|(_, system)| system.is_key(name))
}

/// The values of `kind`.
pub(super) const KINDS: [(&str, System); 2] = [("kafka", System::Kafka), ("nats", System::Nats)];

/// The keys of a cluster's table.
pub(super) trait Keys {
    fn is_key(&self, name: &str) -> bool;

    /// Checks that a table can have this key.
    ///
    /// # Errors
    /// The mistake in it, and often the key to set instead.
    fn check_key(&self, name: &str) -> Result<(), String>;

    /// Whether the value must not appear in logs, errors or debug output.
    fn is_secret(&self, name: &str) -> bool;

    /// Whether the value is the path of a file.
    fn is_path(&self, name: &str) -> bool;

    /// The keys that name servers. A cluster has one of them.
    fn servers(&self) -> &'static [&'static str];
}

impl Keys for System {
    fn is_key(&self, name: &str) -> bool {
        match self {
            Self::Kafka => properties::is_property(name),
            Self::Nats => nats::is_key(name),
        }
    }

    fn check_key(&self, name: &str) -> Result<(), String> {
        match self {
            Self::Kafka => properties::check_name(name)
                .map_err(|problem| if nats::is_key(name) { of_nats(name) } else { problem }),
            Self::Nats if nats::is_key(name) => Ok(()),
            Self::Nats if properties::is_property(name) => Err(of_kafka(name)),
            Self::Nats => Err(nats::unknown(name)),
        }
    }

    fn is_secret(&self, name: &str) -> bool {
        match self {
            Self::Kafka => sluicegate_kafka::is_secret(name),
            Self::Nats => nats::is_secret(name),
        }
    }

    fn is_path(&self, name: &str) -> bool {
        match self {
            Self::Kafka => name.ends_with(".location"),
            Self::Nats => nats::is_path(name),
        }
    }

    fn servers(&self) -> &'static [&'static str] {
        match self {
            Self::Kafka => &["bootstrap.servers", "metadata.broker.list"],
            Self::Nats => &["servers"],
        }
    }
}

/// The problem of a Kafka property in a NATS cluster.
fn of_kafka(name: &str) -> String {
    match PAIRS.iter().find(|(kafka, _)| *kafka == name) {
        Some((_, nats)) => format!("is a property of Kafka clusters: set `{nats}`, or leave out `kind`"),
        None => "is a property of Kafka clusters: leave it out, or leave out `kind`".to_owned(),
    }
}

/// The problem of a NATS cluster's key in a Kafka cluster.
fn of_nats(name: &str) -> String {
    match PAIRS.iter().find(|(_, nats)| *nats == name) {
        Some((kafka, _)) => format!("is a key of NATS clusters: set `{kafka}`, or `kind` to \"nats\""),
        None => "is a key of NATS clusters: leave it out, or set `kind` to \"nats\"".to_owned(),
    }
}

/// Properties of Kafka, and keys of NATS clusters with the same meaning.
const PAIRS: [(&str, &str); 9] = [
    ("bootstrap.servers", "servers"),
    ("metadata.broker.list", "servers"),
    ("sasl.username", "user"),
    ("sasl.password", "password"),
    ("ssl.ca.location", "tls.ca"),
    ("ssl.certificate.location", "tls.certificate"),
    ("ssl.key.location", "tls.key"),
    ("queue.buffering.max.kbytes", "queue.bytes"),
    ("queue.buffering.max.messages", "queue.records"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggested_keys_exist() {
        for (kafka, nats) in PAIRS {
            assert_eq!((System::Kafka.check_key(kafka), System::Nats.check_key(nats)), (Ok(()), Ok(())));
            assert!(System::Kafka.check_key(nats).is_err() && System::Nats.check_key(kafka).is_err());
        }
    }
}
