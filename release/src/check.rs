//! Whether a version can be released from this checkout.

use std::error::Error;

use crate::changelog;

/// Obstacles to the release of `asked`, one sentence each.
pub(crate) fn obstacles(
    asked: &str,
    version: &str,
    chart: &str,
    changelog: &str,
    is_dirty: bool,
) -> Vec<String> {
    let mut found = Vec::new();
    if asked != version {
        found.push(format!(
            "the workspace has version {version}: change `version` in Cargo.toml and in \
             clients/typescript/package.json, or release {version}"
        ));
    }
    // Helm publishes under the version in the chart, whatever its file is called.
    let has = |key: &str| chart.lines().any(|line| line == format!("{key}: {asked}"));
    if !has("version") || !has("appVersion") {
        found.push(format!(
            "deploy/helm/sluicegate/Chart.yaml is of another version: set `version` and `appVersion` to {asked}"
        ));
    }
    if changelog::section(changelog, asked).is_none() {
        found.push(format!("CHANGELOG.md has no text under `## [{asked}]`: rename `## [Unreleased]`"));
    }
    if is_dirty {
        found.push("files differ from the last commit: commit them, or remove them".to_owned());
    }
    found
}

/// Fails with all obstacles.
///
/// # Errors
/// There are some.
pub(crate) fn none(obstacles: &[String]) -> Result<(), Box<dyn Error>> {
    if obstacles.is_empty() { Ok(()) } else { Err(obstacles.join("\nrelease: ").into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "## [0.1.0]\n\n- all\n";
    const CHART: &str = "name: x\nversion: 0.1.0\nappVersion: 0.1.0\n";

    #[test]
    fn version_with_a_section_in_a_clean_checkout_can_be_released() {
        assert_eq!(obstacles("0.1.0", "0.1.0", CHART, LOG, false), [""; 0]);
    }

    #[test]
    fn each_obstacle_has_its_sentence() {
        let found = obstacles("0.2.0", "0.1.0", CHART, LOG, true);
        let starts = [
            "the workspace has version 0.1.0",
            "deploy/helm/sluicegate/Chart.yaml is of another version",
            "CHANGELOG.md has no text under",
            "files differ from",
        ];
        assert_eq!(found.len(), starts.len(), "{found:?}");
        for (found, start) in found.iter().zip(starts) {
            assert!(found.starts_with(start), "{found}");
        }
    }
}
