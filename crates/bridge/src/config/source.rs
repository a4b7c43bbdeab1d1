//! Where the configuration comes from: a file, the environment, and the files that both name.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sluicegate_backend::file_hash;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::Config;
use super::fingerprint;
use super::problem::{Place, Problem, Problems};
use super::tree::{self, Node, Tree};

/// The sources of the configuration. They can change while the bridge runs.
#[derive(Debug, Clone)]
pub struct Source {
    /// `--config`.
    path: Option<PathBuf>,
    /// The state of all files before they were loaded last.
    loaded: u64,
}

impl Source {
    /// The file at `path`, if there is one, and the environment.
    pub fn new(path: Option<PathBuf>) -> Self {
        Self { path, loaded: 0 }
    }

    /// The file.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Reads and checks the configuration. Blocks.
    ///
    /// # Errors
    /// Every problem, in the order of the keys.
    pub fn load(&mut self) -> Result<Config, Vec<Problem>> {
        let text = self.text();
        // A change while the files are read is a change after it.
        self.loaded = version(text.as_deref().ok());
        Config::load(&text?, env::vars_os())
    }

    /// Waits until a file has other contents than when it was loaded, and the same ones for a second: files that are
    /// being written are not read. The contents count, so that a file can be replaced in any way, such as by a symbolic
    /// link.
    ///
    /// Never, if the configuration comes from a pipe.
    ///
    /// # Cancel safety
    /// A drop has no effect.
    pub async fn changed(&self) {
        if self.path.as_deref().is_some_and(file_hash::is_special) {
            std::future::pending::<()>().await;
        }
        let mut last = self.loaded;
        loop {
            sleep(INTERVAL).await;
            let source = self.clone();
            // The task is lost only if the runtime shuts down.
            let Ok(now) = spawn_blocking(move || version(source.text().ok().as_deref())).await else {
                continue;
            };
            if now != self.loaded && now == last {
                return;
            }
            last = now;
        }
    }

    fn text(&self) -> Result<String, Vec<Problem>> {
        let text = self.path.as_deref().map(fs::read_to_string).transpose();
        let whole = |error: std::io::Error| {
            vec![Problem { place: Place::Key(String::new()), problem: error.to_string() }]
        };
        Ok(text.map_err(whole)?.unwrap_or_default())
    }
}

/// A hash of the text, if it can be read, and of all files that the configuration names.
fn version(text: Option<&str>) -> u64 {
    let mut hasher = file_hash::hasher();
    text.hash(&mut hasher);
    for file in files(text.unwrap_or_default()) {
        file_hash::hash(&file, &mut hasher);
    }
    hasher.finish()
}

/// The files that the configuration names.
fn files(text: &str) -> BTreeSet<PathBuf> {
    let (tree, _) = tree::read(text, env::vars_os(), &mut Problems::default());
    let mut files = BTreeSet::new();
    add_files(&tree, "", &mut files);
    files
}

fn add_files(tree: &Tree, table: &str, files: &mut BTreeSet<PathBuf>) {
    for (key, node) in tree {
        match node {
            Node::Table(below) => add_files(below, key, files),
            node => files.extend(fingerprint::file(table, key, node).map(Path::to_owned)),
        }
    }
}

/// Time between two looks at the files.
const INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_named_file_is_found() {
        let text = r#"
            gateway_secret = { file = "/a" }
            [tls]
            certificate = "/b"
            key = "/c"
            [clusters.x]
            bootstrap.servers = "kafka:9092"
            ssl.ca.location = "/d"
            "ssl.key.location" = "/e"
            sasl.password.file = "/f"
            [clusters.y]
            kind = "nats"
            servers = "nats://nats"
            creds = { file = "/g" }
            tls.ca = "/h"
            "tls.key" = "/i"
            [identity.x]
            jwks_file = "/j"
            [revocation]
            list_file = "/k"
            [audit]
            file = "/written"
        "#;
        let want = ["/a", "/b", "/c", "/d", "/e", "/f", "/g", "/h", "/i", "/j", "/k"].map(PathBuf::from);
        assert_eq!(files(text).into_iter().collect::<Vec<_>>(), want);
    }
}
