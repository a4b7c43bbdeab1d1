//! A cluster's properties, checked for reading and for writing.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::path::Path;

use sluicegate_backend::file_hash;
use sluicegate_reader::PropertyError;

use super::properties;
use super::settings::Settings;

/// One cluster: its properties for reading and for writing.
#[derive(Debug)]
pub struct ClusterConfig {
    /// The reader's configuration.
    pub reader: sluicegate_reader::Config,
    /// The producer's settings.
    pub(super) writer: Settings,
    version: u64,
}

impl ClusterConfig {
    /// Takes properties whose names were checked.
    ///
    /// # Errors
    /// Problems that the reader, librdkafka and writing find in each property, in this order. A property with several
    /// problems is reported once.
    pub fn parse(properties: &BTreeMap<String, String>) -> Result<Self, Vec<PropertyError>> {
        // Before the files are read: a later change is another version.
        let version = version(properties);
        let read = sluicegate_reader::Config::from_properties(properties);
        let mut errors = read.as_ref().err().cloned().unwrap_or_default();
        for (key, text) in properties {
            if let Err(problem) = properties::check_value(key, text.trim()) {
                add(&mut errors, key, problem);
            }
        }
        let settings = Settings::parse(properties);
        for (key, problem) in settings.as_ref().err().into_iter().flatten() {
            add(&mut errors, key, problem.clone());
        }
        match (read, settings) {
            (Ok(reader), Ok(writer)) if errors.is_empty() => {
                let writer = writer.with_reader(&reader);
                Ok(Self { reader, writer, version })
            }
            _ => Err(errors),
        }
    }

    /// Differs if a property differs, or a file that one of them names.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Checks that the properties fit together for writing.
    ///
    /// # Errors
    /// Why no producer can be created, without secrets.
    pub fn check_writable(&self) -> Result<(), String> {
        self.writer.check_together()
    }
}

fn version(properties: &BTreeMap<String, String>) -> u64 {
    let mut hasher = file_hash::hasher();
    properties.hash(&mut hasher);
    for (_, path) in properties.iter().filter(|(name, _)| name.ends_with(".location")) {
        file_hash::hash(Path::new(path.trim()), &mut hasher);
    }
    hasher.finish()
}

/// Adds the problem of a property that has none yet.
fn add(errors: &mut Vec<PropertyError>, key: &str, problem: String) {
    if !errors.iter().any(|error| error.key == key) {
        errors.push(PropertyError { key: key.to_owned(), problem });
    }
}
