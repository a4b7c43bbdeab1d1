//! `[clusters.NAME]`: librdkafka's properties, as quoted keys or as dotted ones.

use std::collections::BTreeMap;

use super::Place;
use super::section::{Flat, Problems, Section};

/// Every cluster. At least one is expected.
pub(super) fn all(
    mut table: Section,
    problems: &mut Problems,
) -> BTreeMap<String, sluicegate_reader::Config> {
    let tables = table.tables(problems);
    if tables.is_empty() {
        problems.add("clusters", "is empty, expected at least one [clusters.NAME]");
    }
    let parsed = |(name, table): (String, Section)| Some((name.clone(), one(&name, table, problems)?));
    tables.into_iter().filter_map(parsed).collect()
}

fn one(name: &str, table: Section, problems: &mut Problems) -> Option<sluicegate_reader::Config> {
    let shown = format!("clusters.{}", name.escape_debug());
    if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(is_name_byte) {
        let expected = format!("expected a name of 1 to {MAX_NAME} letters, digits, '.', '_' and '-'");
        problems.add(shown.clone(), expected);
    }
    let (overrides, given): (Vec<Flat>, Vec<Flat>) =
        table.flat(problems).into_iter().partition(|f| f.variable.is_some());
    let mut properties = BTreeMap::new();
    for Flat { name: property, text, .. } in given {
        if properties.insert(property.clone(), text).is_some() {
            problems.add(format!("{shown}.{property}"), "is given twice");
        }
    }
    let mut variables = BTreeMap::new();
    for Flat { name: property, text, variable } in overrides {
        variables.extend(variable.map(|variable| (property.clone(), Place::Variable(variable))));
        properties.insert(property, text);
    }
    let errors = match sluicegate_reader::Config::from_properties(&properties) {
        Ok(config) => return Some(config),
        Err(errors) => errors,
    };
    for error in errors {
        let place = variables.get(&error.key).cloned();
        problems.add(place.unwrap_or_else(|| format!("{shown}.{}", error.key).into()), error.problem);
    }
    None
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

/// A name is a header's value and a metric's label.
const MAX_NAME: usize = 100;
