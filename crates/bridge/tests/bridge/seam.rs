//! Files that choose by messaging system, besides its own crate and its dialect.

use std::collections::BTreeMap;
use std::path::Path;

use super::circles::{production, read};

#[test]
fn only_the_configuration_chooses_by_system() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut choosing = Vec::new();
    for name in ["backend", "bridge", "delivery", "reader", "shared-log", "telemetry"] {
        let mut sources = BTreeMap::new();
        read(&crates.join(name).join("src"), &[], &mut sources);
        for (module, source) in &sources {
            let path = format!("{name}::{}", module.join("::"));
            let code = production(source);
            let names_variant = code
                .match_indices("System::")
                .any(|(at, found)| code[at + found.len()..].starts_with(|c: char| c.is_ascii_uppercase()));
            if names_variant && !TESTS.contains(&path.as_str()) {
                choosing.push(path);
            }
        }
    }
    let config = ["cluster", "kind", "route_clusters", "unnamed_cluster"];
    assert_eq!(choosing, config.map(|file| format!("bridge::config::{file}")));
}

/// Files of tests with names of their own.
const TESTS: [&str; 5] = [
    "bridge::entries",
    "bridge::session::json::records::deliveries",
    "bridge::testing",
    "delivery::testing::logs",
    "delivery::testing::script",
];
