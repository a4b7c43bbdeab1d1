//! Where the demo's records come from: a server that it starts, or the user's.

use std::env;
use std::fmt::{self, Display};
use std::path::PathBuf;

use toml::Table;

/// The messaging system whose terms the demo uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum System {
    Kafka,
    Nats,
}

impl System {
    /// Its name in sentences.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kafka => "Kafka",
            Self::Nats => "NATS",
        }
    }
}

/// The bridge's cluster `default`.
#[derive(Debug)]
pub(crate) enum Source {
    /// The server that the demo starts, at this address, with these topics or streams.
    Started(System, String, Vec<String>),
    /// These Kafka servers.
    Servers(String),
    /// The cluster of this file.
    Config(System, PathBuf),
}

impl Source {
    pub(crate) fn system(&self) -> System {
        match self {
            Self::Started(system, ..) | Self::Config(system, _) => *system,
            Self::Servers(_) => System::Kafka,
        }
    }
}

impl Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started(system, address, names) => {
                let word = if *system == System::Kafka { "topics" } else { "streams" };
                write!(f, "{} at {address} ({word}: {})", system.name(), names.join(", "))
            }
            Self::Servers(servers) => write!(f, "Kafka at {servers}"),
            Self::Config(_, path) => write!(f, "cluster `default` of {}", path.display()),
        }
    }
}

/// The system of the cluster `default`, by the configuration and the environment, which overrides it. None if neither
/// has the cluster. Invalid TOML and unknown kinds are left to the bridge to report.
pub(crate) fn system_of(config: &str) -> Option<System> {
    let kind = |kind: &str| if kind == "nats" { System::Nats } else { System::Kafka };
    if let Ok(set) = env::var(format!("{DEFAULT_CLUSTER}KIND")) {
        return Some(kind(&set));
    }
    let Ok(config) = config.parse::<Table>() else { return Some(System::Kafka) };
    let cluster = config.get("clusters").and_then(|clusters| clusters.get("default"));
    let in_environment =
        || env::vars_os().any(|(name, _)| name.to_string_lossy().starts_with(DEFAULT_CLUSTER));
    match cluster {
        Some(cluster) => Some(kind(cluster.get("kind").and_then(|kind| kind.as_str()).unwrap_or_default())),
        None => in_environment().then_some(System::Kafka),
    }
}

/// The prefix of variables that override the cluster `default`.
const DEFAULT_CLUSTER: &str = "SLUICEGATE_CLUSTERS__DEFAULT__";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configuration_names_the_system() {
        for (config, system) in [
            ("[clusters.default]\nkind = \"nats\"", Some(System::Nats)),
            ("[clusters.default]\nkind = \"kafka\"", Some(System::Kafka)),
            ("[clusters.default]\nbootstrap.servers = \"a:1\"", Some(System::Kafka)),
            ("[clusters.other]\nkind = \"nats\"", None),
            ("", None),
            ("[clusters.default", Some(System::Kafka)),
        ] {
            assert_eq!(system_of(config), system, "{config}");
        }
    }
}
