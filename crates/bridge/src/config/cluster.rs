//! `[clusters.NAME]`: `kind`, and the keys of that kind, as quoted keys or as dotted ones.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::path::Path;
use std::sync::Arc;

use sluicegate_backend::{System, file_hash};
use sluicegate_kafka::PropertyError;

use super::flat::Flat;
use super::kind::{KIND, KINDS, Keys, SCHEMAS};
use super::nats;
use super::problem::{Place, Problems};
use super::schemas::Schemas;
use super::section::{Section, check_name, expected_name};
use super::tree::given_by;
use super::unnamed_cluster;

/// The configuration of one cluster.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one for each cluster")]
pub enum ClusterConfig {
    /// `kind = "kafka"`, the default, and the registry of its schemas.
    Kafka(sluicegate_kafka::ClusterConfig, Option<Arc<Schemas>>),
    /// `kind = "nats"`.
    Nats(sluicegate_nats::ClusterConfig),
}

impl ClusterConfig {
    pub(crate) fn system(&self) -> System {
        match self {
            Self::Kafka(..) => System::Kafka,
            Self::Nats(_) => System::Nats,
        }
    }

    /// Differs if a value differs, or a file that one of them names.
    pub(crate) fn version(&self) -> u64 {
        match self {
            Self::Kafka(config, None) => config.version(),
            Self::Kafka(config, Some(schemas)) => {
                let mut hasher = file_hash::hasher();
                (config.version(), schemas.version).hash(&mut hasher);
                hasher.finish()
            }
            Self::Nats(config) => config.version,
        }
    }

    /// Checks that the values fit together for writing.
    ///
    /// # Errors
    /// Why the cluster cannot be written to, without secrets.
    pub(crate) fn check_writable(&self) -> Result<(), String> {
        match self {
            Self::Kafka(config, _) => config.check_writable(),
            Self::Nats(_) => Ok(()),
        }
    }
}

/// A cluster's configuration, or all of its invalid keys.
type Parsed<C> = Result<C, Vec<PropertyError>>;

/// Parses every cluster. If `expected`, there has to be at least one.
pub(super) fn all(
    mut table: Section,
    schemas: &BTreeMap<String, Option<Arc<Schemas>>>,
    expected: bool,
    problems: &mut Problems,
) -> BTreeMap<String, ClusterConfig> {
    let has_unnamed = unnamed_cluster::report(&mut table, problems);
    let tables = table.tables(problems);
    if expected && tables.is_empty() && !has_unnamed {
        problems.add(
            "clusters",
            "is empty, expected at least one [clusters.NAME] in the file of --config, or \
             SLUICEGATE_CLUSTERS__NAME__BOOTSTRAP_SERVERS",
        );
    }
    let parsed =
        |(name, table): (String, Section)| Some((name.clone(), one(&name, table, schemas, problems)?));
    tables.into_iter().filter_map(parsed).collect()
}

fn one(
    name: &str,
    mut table: Section,
    schemas: &BTreeMap<String, Option<Arc<Schemas>>>,
    problems: &mut Problems,
) -> Option<ClusterConfig> {
    let shown = format!("clusters.{}", name.escape_debug());
    check_name(name, &shown, problems);
    let kind = table.place(KIND);
    let system = match table.one_of(KIND, &KINDS, problems) {
        Some(system) => system,
        // The valid keys are unknown.
        None if kind.is_some() => return None,
        None => System::Kafka,
    };
    let place = table.place(SCHEMAS);
    let of_schemas = table.text(SCHEMAS, problems);
    let registry = of_schemas.as_ref().and_then(|name| schemas.get(name));
    if let (Some(name), Some(place), None) = (&of_schemas, place, registry) {
        let expected = expected_name(name, schemas.keys().map(String::as_str), "schemas");
        problems.add(place, format!("is \"{}\", {expected}", name.escape_debug()));
    }
    let given = given(table, system, problems);
    let places = given.values().map(|flat| &flat.place).chain(&kind);
    if let Some(variable) = only_variables(places)
        && !system.servers().iter().any(|name| given.contains_key(*name))
    {
        let servers = system.servers().first().copied().unwrap_or_default();
        let expected = format!("expected [{shown}] in the file, or `{servers}` from the environment too");
        problems.add(shown, format!("is set only by variables such as {variable}: {expected}"));
        return None;
    }
    let parsed = match system {
        System::Kafka => {
            kafka(&given).map(|config| ClusterConfig::Kafka(config, registry.cloned().flatten()))
        }
        System::Nats if of_schemas.is_some() => {
            let problem = "is a key of Kafka clusters: leave it out, or leave out `kind`".to_owned();
            Err(vec![PropertyError { key: SCHEMAS.to_owned(), problem }])
        }
        System::Nats => parse(&given, system, nats::parse).map(ClusterConfig::Nats),
    };
    let errors = match parsed {
        Ok(config) => return Some(config),
        Err(errors) => errors,
    };
    for PropertyError { key, problem } in errors {
        let place = given.get(&key).map(|flat| flat.place.clone());
        problems.add(place.unwrap_or_else(|| format!("{shown}.{key}").into()), problem);
    }
    None
}

/// A Kafka cluster's properties: see [`parse`].
pub(super) fn kafka(given: &BTreeMap<String, Flat>) -> Parsed<sluicegate_kafka::ClusterConfig> {
    parse(given, System::Kafka, sluicegate_kafka::ClusterConfig::parse)
}

/// Checks of each key the name, the value's presence, and, with `of_kind`, the value, in this order. Later checks skip
/// a key that has failed an earlier one.
fn parse<C>(
    given: &BTreeMap<String, Flat>,
    system: System,
    of_kind: fn(&BTreeMap<String, String>) -> Parsed<C>,
) -> Parsed<C> {
    let mut errors = Vec::new();
    let mut values = BTreeMap::new();
    for (key, flat) in given {
        match system.check_key(key).and_then(|()| flat.text.clone()) {
            Ok(text) => _ = values.insert(key.clone(), text),
            Err(problem) => errors.push(PropertyError { key: key.clone(), problem }),
        }
    }
    let parsed = of_kind(&values);
    for PropertyError { key, problem } in parsed.as_ref().err().into_iter().flatten() {
        // A key without a valid text has its error already, and seems to be missing here.
        let is_reported = given.contains_key(key) && !values.contains_key(key);
        if !is_reported {
            let problem = of_value(system, key, given.get(key), problem);
            errors.push(PropertyError { key: key.clone(), problem });
        }
    }
    parsed.ok().filter(|_| errors.is_empty()).ok_or(errors)
}

/// The values of a table. Variables override the file.
pub(super) fn given(table: Section, system: System, problems: &mut Problems) -> BTreeMap<String, Flat> {
    let is_variable = |(_, flat): &(String, Flat)| matches!(flat.place, Place::Variable(_));
    let (variables, others): (Vec<_>, Vec<_>) = table.flat(system).into_iter().partition(is_variable);
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

/// One of the variables, if all places are variables.
fn only_variables<'a>(places: impl Iterator<Item = &'a Place>) -> Option<&'a str> {
    let variable = |place: &'a Place| match place {
        Place::Variable(name) => Some(name.as_str()),
        Place::Key(_) => None,
    };
    let names: Option<Vec<&str>> = places.map(variable).collect();
    names?.first().copied()
}

/// The problem of a value. It can show the value, unless the value is from a file.
fn of_value(system: System, property: &str, flat: Option<&Flat>, problem: &str) -> String {
    match flat.and_then(|flat| flat.file.as_deref()).map(Path::display) {
        None => problem.to_owned(),
        Some(path) if system.is_secret(property) || property.ends_with(".pem") => {
            format!("{path}: {problem}")
        }
        Some(path) if system.is_path(property) => {
            format!("the text of {path} is taken as the path: expected \"{path}\" itself")
        }
        Some(path) => format!("{path}: does not contain a valid value of this property"),
    }
}
