//! Files that choose by messaging system, besides its own crate and its dialect.

use std::collections::BTreeMap;
use std::path::Path;

use super::circles::read;

#[test]
fn only_the_configuration_chooses_by_system() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut choosing = Vec::new();
    for name in ["backend", "bridge", "delivery", "reader", "shared-log", "telemetry"] {
        let mut sources = BTreeMap::new();
        read(&crates.join(name).join("src"), &[], &mut sources);
        for (module, source) in &sources {
            let code = source.split("#[cfg(test)]").next().unwrap_or_default();
            let is_test = module.last().is_some_and(|name| TESTS.contains(&name.as_str()));
            if !is_test && ["System::Kafka", "System::Nats"].iter().any(|variant| code.contains(variant)) {
                choosing.push(format!("{name}::{}", module.join("::")));
            }
        }
    }
    let config = ["cluster", "kind", "route_clusters", "unnamed_cluster"];
    assert_eq!(choosing, config.map(|file| format!("bridge::config::{file}")));
}

/// Files of tests with names of their own.
const TESTS: [&str; 4] = ["deliveries", "entries", "logs", "script"];
