//! `[clusters.NAME]`: librdkafka's properties, as quoted keys or as dotted ones.

use std::collections::BTreeMap;
use std::path::Path;

use super::flat::Flat;
use super::problem::{Place, Problems};
use super::section::Section;
use super::tree::given_by;
use crate::kafka::{ClusterConfig, PropertyError, is_secret, properties};

/// Parses every cluster. If `expected`, there has to be at least one.
pub(super) fn all(
    mut table: Section,
    expected: bool,
    problems: &mut Problems,
) -> BTreeMap<String, ClusterConfig> {
    let tables = table.tables(problems);
    if expected && tables.is_empty() {
        problems.add("clusters", "is empty, expected at least one [clusters.NAME] in the file of --config, or SLUICEGATE_CLUSTERS__NAME__BOOTSTRAP_SERVERS");
    }
    let parsed = |(name, table): (String, Section)| Some((name.clone(), one(&name, table, problems)?));
    tables.into_iter().filter_map(parsed).collect()
}

fn one(name: &str, table: Section, problems: &mut Problems) -> Option<ClusterConfig> {
    let shown = format!("clusters.{}", name.escape_debug());
    if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(is_name_byte) {
        let expected = format!("expected a name of 1 to {MAX_NAME} letters, digits, '.', '_' and '-'");
        problems.add(shown.clone(), expected);
    }
    let given = given(table, problems);
    if let Some(variable) = of_no_file(&given) {
        let expected =
            format!("expected [{shown}] in the file, or `bootstrap.servers` from the environment too");
        problems.add(shown, format!("is set only by variables such as {variable}: {expected}"));
        return None;
    }
    let errors = match parse(&given) {
        Ok(config) => return Some(config),
        Err(errors) => errors,
    };
    for PropertyError { key, problem } in errors {
        let place = given.get(&key).map(|flat| flat.place.clone());
        problems.add(place.unwrap_or_else(|| format!("{shown}.{key}").into()), problem);
    }
    None
}

/// Checks of each property the name, the value's presence, and the value, in this order. A property with several problems is
/// reported once.
pub(super) fn parse(given: &BTreeMap<String, Flat>) -> Result<ClusterConfig, Vec<PropertyError>> {
    let mut errors = Vec::new();
    let mut properties = BTreeMap::new();
    for (key, flat) in given {
        match properties::check_name(key).and_then(|()| flat.text.clone()) {
            Ok(text) => _ = properties.insert(key.clone(), text),
            Err(problem) => errors.push(PropertyError { key: key.clone(), problem }),
        }
    }
    let parsed = ClusterConfig::parse(&properties);
    for PropertyError { key, problem } in parsed.as_ref().err().into_iter().flatten() {
        // A property without a valid text has its error already, and seems to be missing here.
        let is_reported = given.contains_key(key) && !properties.contains_key(key);
        if !is_reported {
            errors.push(PropertyError { key: key.clone(), problem: of_value(key, given.get(key), problem) });
        }
    }
    parsed.ok().filter(|_| errors.is_empty()).ok_or(errors)
}

/// The properties of a table. Variables override the file.
pub(super) fn given(table: Section, problems: &mut Problems) -> BTreeMap<String, Flat> {
    let is_variable = |(_, flat): &(String, Flat)| matches!(flat.place, Place::Variable(_));
    let (variables, others): (Vec<_>, Vec<_>) =
        table.flat(properties::is_property).into_iter().partition(is_variable);
    let mut given = BTreeMap::new();
    for (property, flat) in others.into_iter().chain(variables) {
        let place = flat.place.clone();
        let before = given.insert(property, flat).map(|flat: Flat| flat.place);
        match (before, &place) {
            (Some(Place::Variable(other)), _) => problems.add(place, given_by(&other)),
            (Some(Place::Key(_)), Place::Key(_)) => problems.add(place, "is given twice"),
            (Some(Place::Key(_)), Place::Variable(_)) | (None, _) => {}
        }
    }
    given
}

/// A variable of a cluster that only variables name, without brokers.
fn of_no_file<'a>(given: &'a BTreeMap<String, Flat>) -> Option<&'a str> {
    let variable = |flat: &'a Flat| match &flat.place {
        Place::Variable(name) => Some(name.as_str()),
        Place::Key(_) => None,
    };
    let names: Option<Vec<&str>> = given.values().map(variable).collect();
    let has_servers = SERVERS.iter().any(|name| given.contains_key(*name));
    names?.first().copied().filter(|_| !has_servers)
}

/// The problem of a value. It can show the value, unless the value is from a file.
fn of_value(property: &str, flat: Option<&Flat>, problem: &str) -> String {
    match flat.and_then(|flat| flat.file.as_deref()).map(Path::display) {
        None => problem.to_owned(),
        Some(path) if is_secret(property) || property.ends_with(".pem") => format!("{path}: {problem}"),
        Some(path) if property.ends_with(".location") => {
            format!("the text of {path} is taken as the path: expected \"{path}\" itself")
        }
        Some(path) => format!("{path}: does not contain a valid value of this property"),
    }
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

/// A cluster has one of these.
const SERVERS: [&str; 2] = ["bootstrap.servers", "metadata.broker.list"];
/// The longest name of a cluster, which is a header's value and a metric's label.
const MAX_NAME: usize = 100;
