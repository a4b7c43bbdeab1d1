//! Keys of a cluster that stand in `[clusters]` itself, where the cluster's name was forgotten.

use sluicegate_backend::System;

use super::kind::{KIND, Keys, is_cluster_key};
use super::problem::{Place, Problems};
use super::section::Section;
use super::tree::Node;

/// Takes such keys out of `[clusters]`, and reports them. False if there are none.
pub(super) fn report(clusters: &mut Section, problems: &mut Problems) -> bool {
    let unnamed = clusters.extract(|name, node| key(name, node).is_some());
    let mut in_file = Vec::new();
    for (name, node) in &unnamed {
        let key = key(name, node).unwrap_or_default();
        match node.shown(String::new()) {
            Place::Key(_) => in_file.push(format!("`{key}`")),
            Place::Variable(variable) => {
                let expected = format!("SLUICEGATE_CLUSTERS__NAME__{}", key.to_uppercase().replace('.', "_"));
                problems.add(Place::Variable(variable), format!("names no cluster: expected {expected}"));
            }
        }
    }
    if !in_file.is_empty() {
        let problem =
            "without a cluster's name: write [clusters.default], or another name, instead of [clusters]";
        problems.add("clusters", format!("has {} {problem}", in_file.join(", ")));
    }
    !unnamed.is_empty()
}

/// The first key of a cluster that begins with `name`. None if that is a cluster's name: it has a `kind`, or what
/// follows the name is a property by itself.
fn key(name: &str, node: &Node) -> Option<String> {
    let name = match node.shown(String::new()) {
        Place::Key(_) => name.to_owned(),
        Place::Variable(_) => name.replace('_', "."),
    };
    let without_file = |name: &str| name.strip_suffix(".file").unwrap_or(name).to_owned();
    let leaves = node.leaves();
    if leaves.iter().any(|leaf| leaf == KIND || System::Kafka.is_key(&without_file(leaf))) {
        return None;
    }
    let wholes =
        leaves.iter().map(|leaf| if leaf.is_empty() { name.clone() } else { format!("{name}.{leaf}") });
    wholes.map(|whole| without_file(&whole)).find(|whole| is_cluster_key(whole))
}
