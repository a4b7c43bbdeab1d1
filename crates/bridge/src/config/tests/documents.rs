//! The documents say what the configuration does.

use std::fs;
use std::path::Path;

use sluicegate_reference as reference;

use super::*;

#[test]
fn reference_lists_every_key() {
    let heads = ["key", "type or range", "default", "meaning", "worst case in memory"];
    let rows = keys::rows();
    for (region, rows) in [("keys", &rows), ("nats-keys", &super::super::nats::keys::rows())] {
        reference::check("bridge-configuration.md", region, &reference::table(&heads, rows));
    }
    let example = include_str!("../../../example.toml");
    for name in rows.iter().map(|row| row[0].trim_matches('`')) {
        let (table, key) = name.rsplit_once('.').unwrap_or(("", name));
        let in_table = match table {
            "" => example,
            table => example.split_once(&format!("[{table}]\n")).expect(table).1,
        };
        let is_it = |line: &str| line.trim_start_matches("# ").starts_with(&format!("{key} = "));
        let is_table = example.contains(&format!("# [{name}]\n"));
        assert!(is_table || in_table.lines().any(is_it), "example.toml has no {name}");
    }
}

#[test]
fn documented_configurations_lack_only_their_files() {
    let example = include_str!("../../../example.toml");
    let clusters = example.split("\n# [clusters.").skip(1).map(|rest| rest.split("\n\n").next().unwrap());
    let clusters = clusters.map(|lines| format!("[clusters.{}", lines.replace("\n# ", "\n")));
    let documents = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let pages = ["how-to", "reference"].map(|kind| fs::read_dir(documents.join(kind)).unwrap());
    let pages = pages.into_iter().flatten().map(|page| fs::read_to_string(page.unwrap().path()).unwrap());
    let blocks = pages.flat_map(|page| {
        let blocks = page.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
        blocks.map(str::to_owned).collect::<Vec<_>>()
    });
    let examples: Vec<String> = blocks.chain(clusters).collect();
    assert!(examples.len() > 8, "{examples:#?}");
    for example in examples {
        let whole = if example.contains("[clusters.") { example } else { example + CLUSTER };
        let problems = load(&whole, &[]).err().unwrap_or_default();
        assert!(problems.iter().all(|problem| problem.contains("os error 2")), "{whole}{problems:#?}");
    }
}

const PROPERTIES: &str = include_str!("../../../../../docs/reference/kafka-properties.md");

/// The cells of each row that begins with a property.
fn rows(section: &'static str) -> Vec<Vec<&'static str>> {
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect()).collect()
}

#[test]
fn documented_properties_and_ranges_are_librdkafkas() {
    let (accepted, _) = PROPERTIES.split_once("## Rejected properties").unwrap();
    let (rows, mut checked) = (rows(accepted), 0);
    assert!(rows.len() > 45, "{rows:?}");
    for row in rows {
        let name = row[0].trim_matches('`');
        assert!(sluicegate_kafka::properties::is_property(name), "{name}");
        let Some((min, max)) = row.get(2).and_then(|values| values.split_once(" to ")) else { continue };
        let Ok((min, max)) = min.parse().and_then(|min: i64| Ok((min, max.parse::<i64>()?))) else {
            continue;
        };
        let accepts = |value: i64| load(&format!("{CLUSTER}{name} = {value}\n"), &[]).is_ok();
        let bounds = [min - 1, min, max, max + 1].map(accepts);
        assert_eq!(bounds, [false, true, true, false], "{name}: {min} to {max}");
        checked += 1;
    }
    assert!(checked >= 10, "{checked}");
}

#[test]
fn documented_defaults_are_those_that_hold() {
    let cluster = |text: &str| {
        load(text, &[]).map(|mut config| match config.clusters.remove("default") {
            Some(ClusterConfig::Kafka(config, _)) => config,
            other => panic!("{other:?}"),
        })
    };
    let unset = cluster(CLUSTER).unwrap();
    let (reading, writing) = PROPERTIES.split_once("## Writing").unwrap();
    let in_words = ["required", "none", "the system's"];
    for row in rows(reading) {
        let (name, default) = (row[0].trim_matches('`'), row[1].trim_matches('`'));
        // A property of SASL is rejected without it.
        if let Ok(set) = cluster(&format!("{CLUSTER}{name} = {default:?}\n"))
            && !in_words.contains(&default)
        {
            assert_eq!(format!("{:?}", set.reader), format!("{:?}", unset.reader), "{name} = {default}");
        }
    }
    for (names, value) in sluicegate_kafka::DEFAULTS {
        let documented = format!("\n| `{}` | {} | ", names[0], value);
        let quoted = format!("\n| `{}` | `{}` | ", names[0], value);
        // Its only value is its default.
        let is_rejected = writing.contains(&format!("\n| `{}` | `true` |\n", names[0]));
        let is_documented = PROPERTIES.contains(&documented) || PROPERTIES.contains(&quoted) || is_rejected;
        assert!(is_documented, "{names:?} = {value}");
    }
}

#[test]
fn every_rejected_property_is_documented() {
    let (_, rejected) = PROPERTIES.split_once("## Rejected properties").unwrap();
    let rows = rejected.lines().filter(|row| row.starts_with("| `"));
    let cells = rows.map(|row| row.split('|').nth(1).unwrap());
    let named: Vec<&str> = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    let is_documented = |name: &&str| match name.split_once('*') {
        Some((begin, _)) => named.iter().any(|other| other.starts_with(begin)),
        None => named.contains(name),
    };
    // Librdkafka cannot be asked for all of its names.
    let of_the_reader = "enable.sasl.oauthbearer.unsecure.jwt sasl.jaas.config sasl.kerberos.* \
                         sasl.oauthbearer.assertion.* sasl.oauthbearer.config ssl.ca.certificate.stores \
                         ssl.cipher.suites ssl.curves.list ssl.engine.* ssl.keystore.* ssl.providers \
                         ssl.sigalgs.list ssl.truststore.*";
    let refused = sluicegate_kafka::properties::REFUSED.iter().map(|(name, _)| *name);
    let refused = refused.chain(of_the_reader.split(' '));
    let missing: Vec<&str> = refused.filter(|name| !is_documented(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    for name in named.iter().filter(|name| !name.ends_with('*') && !name.starts_with('_')) {
        let problems = load(&format!("{CLUSTER}{name} = \"x\"\n"), &[]).expect_err(name);
        assert!(problems[0].starts_with(&format!("clusters.default.{name}: ")), "{problems:?}");
    }
}
