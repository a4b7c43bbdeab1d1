//! The product as users get it.
//!
//! 1. [`existing`]: an Envoy with other routes
//! 2. [`compatibility`]: filter and bridge of different versions
//! 3. [`dev`], [`demo`], [`documents`]: the script, the demo and the documents, from the user's point of view
//! 4. [`chart`], [`compose`], [`monitoring`], [`packages`]: the files for Kubernetes, Docker, Prometheus, Grafana and
//!    registries, without those
//! 5. [`supply_chain`]: the images, actions and tags that builds and releases rely on

mod chart;
mod compatibility;
mod compose;
mod demo;
mod dev;
mod documents;
mod existing;
mod monitoring;
mod packages;
mod supply_chain;

/// Adds the files of a folder, and of those in it.
fn collect(folder: &std::path::Path, files: &mut Vec<std::path::PathBuf>) {
    for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.push(path);
        }
    }
}
