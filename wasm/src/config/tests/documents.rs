//! The documents list every key and metric of the filter, and their configurations are valid, as are those in `apisix/`.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::Value;

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
    let whole = |block: &str| match block.contains("\"routes\"") {
        true => block.to_owned(),
        false => format!("{{\"routes\": [{block}]}}"),
    };
    pages.into_iter().flat_map(blocks).map(whole).collect()
}

/// The blocks of JSON on a page.
fn blocks(page: &str) -> impl Iterator<Item = &str> {
    page.split("```json\n").skip(1).filter_map(|rest| rest.split("```").next())
}

/// APISIX accepts this `conf`.
#[track_caller]
fn accepted(conf: &str) -> Config {
    parse_in_apisix(conf).unwrap_or_else(|mistakes| panic!("{conf}: {mistakes:?}"))
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
    assert!(blocks(page).count() > 2);
    for block in blocks(page) {
        let route: Value = serde_json::from_str(block).unwrap();
        accepted(&route["plugins"]["sluicegate"]["conf"].to_string());
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

/// Each `conf` of the YAML.
fn confs(yaml: &str) -> Vec<String> {
    let mut parts = Vec::new();
    collect(&serde_saphyr::from_str(yaml).expect("YAML"), &mut parts);
    parts.iter().filter_map(|part| part.get("conf")).map(Value::to_string).collect()
}

#[test]
fn documented_routes_are_valid() {
    let confs = confs(ROUTES);
    assert_eq!(confs.len(), ROUTES.matches("conf:").count());
    let paths = confs.iter().map(|conf| accepted(conf).routes[0].path.clone());
    assert_eq!(paths.collect::<Vec<_>>(), ["", "", "/kafka", "/kafka"]);
}

/// Copies of the files must not contain a published key.
#[test]
fn documented_secrets_are_variables_that_the_workers_get() {
    let values = ROUTES.lines().map(str::trim).filter_map(|line| line.split_once(": "));
    let secrets = values.filter(|(key, _)| ["key", "gateway_secret"].contains(key));
    let others = ["consumer_name", "x-sluicegate-group"];
    let secrets: Vec<_> = secrets.filter(|(_, value)| !others.contains(value)).collect();
    assert_eq!(secrets.len(), 5);
    for (key, value) in secrets {
        let variable = value.strip_prefix("\"${{").and_then(|value| value.strip_suffix("}}\""));
        let variable = variable.unwrap_or_else(|| panic!("{key}: {value}"));
        assert!(
            CONFIG.contains(&format!("    - {variable}\n")) && HOW_TO.contains(&format!("{variable}=\"$("))
        );
    }
}

#[test]
fn examples_for_the_admin_api_are_valid() {
    let examples: Vec<_> = HOW_TO.split(r#""conf": "#).skip(1).collect();
    assert_eq!(examples.len(), 3);
    for example in examples {
        let mut values = serde_json::Deserializer::from_str(example).into_iter::<Value>();
        accepted(&values.next().unwrap().unwrap().to_string());
    }
}

#[test]
fn secret_alone_is_refused_as_documented() {
    let mistakes = parse_in_apisix(r#"{"gateway_secret": "a-secret-of-16-or-more"}"#).unwrap_err();
    let (_, refusal) = HOW_TO.split_once("alone is refused (`").unwrap();
    let (refusal, _) = refusal.split_once('`').unwrap();
    assert!(mistakes.iter().any(|mistake| mistake.contains(refusal)), "{refusal}: {mistakes:?}");
}

/// The right column of what stands side by side.
#[test]
fn migrated_native_route_is_valid() {
    let lines: Vec<_> = MOVING.lines().skip_while(|line| !line.starts_with("# before")).collect();
    let column = lines[0].find("# here").unwrap();
    let here = lines.iter().take_while(|line| **line != "```").filter_map(|line| line.get(column..));
    let confs = confs(&here.map(|line| format!("{line}\n")).collect::<String>());
    let [conf] = &confs[..] else { panic!("{confs:?}") };
    assert!(conf.contains("kafka-1:9093") && conf.contains("username"), "{conf}");
    assert_eq!(accepted(conf).routes.len(), 1);
}

const ROUTES: &str = include_str!("../../../../apisix/apisix.yaml");
const CONFIG: &str = include_str!("../../../../apisix/config.yaml");
const HOW_TO: &str = include_str!("../../../../docs/how-to/apisix.md");
const MOVING: &str = include_str!("../../../../docs/how-to/move-from-apisix-native.md");
const BEGIN: &str = "<!-- generated: filter metrics -->\n";
const END: &str = "<!-- end: filter metrics -->\n";
