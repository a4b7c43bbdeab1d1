//! The documents list every key and metric of the filter, and their JSON is accepted.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::*;

const REFERENCE: &str = include_str!("../../../../docs/reference/filter-configuration.md");

/// The configurations on pages whose blocks are whole ones, or routes.
pub(super) fn configurations() -> Vec<String> {
    let pages = [
        REFERENCE,
        include_str!("../../../../docs/how-to/connect-nats.md"),
        include_str!("../../../../docs/how-to/let-clients-in.md"),
        include_str!("../../../../docs/how-to/let-tenants-share-a-topic.md"),
        include_str!("../../../../docs/how-to/rights-of-people.md"),
        include_str!("../../../../docs/how-to/rights-in-envoy.md"),
        include_str!("../../../../docs/how-to/claims-of-keycloak-and-auth0.md"),
        include_str!("../../../../docs/how-to/move-from-rest-proxy.md"),
        include_str!("../../../../docs/how-to/move-from-apisixkafkaupstream.md"),
    ];
    let blocks = pages.iter().flat_map(|page| page.split("```json\n").skip(1));
    let blocks = blocks.filter_map(|rest| rest.split("```").next());
    let whole = |block: &str| match block.contains("\"routes\"") {
        true => block.to_owned(),
        false => format!("{{\"routes\": [{block}]}}"),
    };
    blocks.map(whole).collect()
}

#[test]
fn documented_json_is_accepted() {
    let configurations = configurations();
    assert!(configurations.len() > 5, "{configurations:?}");
    for json in configurations {
        parse(json.as_bytes()).unwrap_or_else(|mistakes| panic!("{json}: {mistakes:?}"));
    }
}

/// Each block is a route of APISIX, with the filter among its plugins.
#[test]
fn documented_routes_of_apisix_are_accepted() {
    let page = include_str!("../../../../docs/how-to/rights-in-apisix.md");
    let blocks = page.split("```json\n").skip(1).filter_map(|rest| rest.split("```").next());
    let blocks: Vec<&str> = blocks.collect();
    assert!(blocks.len() > 2, "{blocks:?}");
    for block in blocks {
        let route: serde_json::Value = serde_json::from_str(block).unwrap();
        let conf = route["plugins"]["sluicegate"]["conf"].to_string();
        parse_in_apisix(&conf).unwrap_or_else(|mistakes| panic!("{block}: {mistakes:?}"));
    }
}

#[test]
fn reference_lists_every_key() {
    let sources = [
        include_str!("../../config.rs"),
        include_str!("../cluster_source.rs"),
        include_str!("../grant.rs"),
        include_str!("../identity.rs"),
        include_str!("../route.rs"),
    ];
    // The calls that take a key out of the configuration.
    let calls = ["string", "flag", "flag_or", "strings", "number", "objects", "object", "value", "bytes"];
    let calls: Vec<String> = calls.iter().map(|call| format!("{call}(\"")).collect();
    let helpers = ["text(reader, \"", "entries(reader, \"", "right(reader, \"", "parsed(\""];
    let calls = || calls.iter().map(String::as_str).chain(helpers);
    let taken = sources.iter().flat_map(|source| calls().flat_map(|call| source.split(call).skip(1)));
    let mut keys: Vec<&str> = taken.filter_map(|rest| rest.split('"').next()).collect();
    let cells =
        REFERENCE.lines().filter(|line| line.starts_with("| `")).filter_map(|row| row.split('|').nth(1));
    // Of `verify` in `tls`, the first is the key.
    let cells = cells.map(|cell| cell.split_once(" in ").map_or(cell, |(keys, _)| keys));
    let mut documented: Vec<&str> = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    for list in [&mut keys, &mut documented] {
        list.sort_unstable();
        list.dedup();
    }
    assert_eq!(documented, keys);
}

#[test]
fn reference_has_the_sizes() {
    let row = |name: &str, default: usize| format!("| `{name}` | {default} | ");
    for (name, default, range) in [
        ("max_message_bytes", DEFAULT_MESSAGE_BYTES, MESSAGE_BYTES),
        ("max_assembly_bytes", DEFAULT_ASSEMBLY_BYTES, ASSEMBLY_BYTES),
    ] {
        let (_, meaning) = REFERENCE.split_once(&row(name, default)).expect(name);
        let most = format!("{} MiB", range.1 >> 20);
        assert!(meaning.lines().next().is_some_and(|meaning| meaning.contains(&most)), "{name}: {most}");
    }
    assert_eq!(MESSAGE_BYTES.0, 1 << 10, "1 KiB");
}

/// Parses `stats.rs`, which is compiled for wasm32 alone. `./dev gen` rewrites the table.
#[test]
fn reference_lists_every_metric() {
    let (_, declared) = include_str!("../../stats.rs").split_once("\nmetrics! {\n").unwrap();
    let (declared, _) = declared.split_once("}\n").unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/metrics.md");
    let page = fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (current, after) = rest.split_once(END).unwrap();
    let mut table = String::from("| metric | type | meaning |\n|---|---|---|\n");
    // Such as `/// Ping commands`, then `ping: Counter "commands.ping",`.
    for declaration in declared.split("    /// ").skip(1) {
        let (meaning, rest) = declaration.split_once('\n').unwrap();
        let (_, rest) = rest.split_once(": ").unwrap();
        let (kind, rest) = rest.split_once(" \"").unwrap();
        let (name, _) = rest.split_once('"').unwrap();
        // Prometheus sees both programs' metrics.
        let exposed = format!("| `sluicegate_{}` |", name.replace('.', "_"));
        assert!(!before.contains(&exposed), "{exposed} is also a metric of the bridge");
        writeln!(table, "| `{name}` | {} | {meaning} |", kind.to_lowercase()).unwrap();
    }
    if std::env::var_os("SLUICEGATE_GEN").is_some() {
        fs::write(&path, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
    } else {
        assert_eq!(current, table, "docs/reference/metrics.md differs from the code: run `./dev gen`");
    }
}

const BEGIN: &str = "<!-- generated: filter metrics -->\n";
const END: &str = "<!-- end: filter metrics -->\n";
