//! The documents name what the filter takes and counts.

use super::*;

const REFERENCE: &str = include_str!("../../../../docs/reference/filter-configuration.md");
const METRICS: &str = include_str!("../../../../docs/reference/metrics.md");

/// Each block is a whole configuration or a route.
#[test]
fn documented_json_is_accepted() {
    let pages = [
        REFERENCE,
        include_str!("../../../../docs/how-to/let-clients-in.md"),
        include_str!("../../../../docs/how-to/move-from-rest-proxy.md"),
        include_str!("../../../../docs/how-to/move-from-apisixkafkaupstream.md"),
    ];
    let blocks = pages.iter().flat_map(|page| page.split("```json\n").skip(1));
    let blocks: Vec<&str> = blocks.filter_map(|rest| rest.split("```").next()).collect();
    assert!(blocks.len() > 5, "{blocks:?}");
    for block in blocks {
        let is_whole = block.contains("\"routes\"");
        let whole = if is_whole { block.to_owned() } else { format!("{{\"routes\": [{block}]}}") };
        parse(whole.as_bytes()).unwrap_or_else(|mistakes| panic!("{block}: {mistakes:?}"));
    }
}

#[test]
fn reference_lists_every_key() {
    let sources = [
        include_str!("../../config.rs"),
        include_str!("../cluster_source.rs"),
        include_str!("../grant.rs"),
        include_str!("../route.rs"),
    ];
    // The calls that take a key out of the configuration.
    let calls = ["string", "flag", "flag_or", "strings", "number", "objects", "object", "value", "bytes"];
    let calls: Vec<String> = calls.iter().map(|call| format!("{call}(\"")).collect();
    let calls = || calls.iter().map(String::as_str).chain(["text(reader, \""]);
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

#[test]
fn reference_lists_every_metric() {
    let (_, declared) = include_str!("../../stats.rs").split_once("\nmetrics! {\n").unwrap();
    let (declared, _) = declared.split_once("}\n").unwrap();
    // Such as `ping: Counter "commands.ping",`.
    let declared: Vec<&str> = declared.lines().map(|line| line.split('"').nth(1).unwrap()).collect();
    let (_, rows) = METRICS.split_once("## The filter in Envoy").unwrap();
    let rows = rows.lines().filter(|line| line.starts_with("| `"));
    let documented: Vec<&str> = rows.map(|row| row.split('`').nth(1).unwrap()).collect();
    assert_eq!(documented, declared);
}
