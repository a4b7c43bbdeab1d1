//! Whether a version can be released from this checkout.

use std::error::Error;

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
    if section(changelog, asked).is_none() {
        found.push(format!("CHANGELOG.md has no text under `## [{asked}]`: rename `## [Unreleased]`"));
    }
    if is_dirty {
        found.push("files differ from the last commit: commit them, or remove them".to_owned());
    }
    found
}

/// Fails with all obstacles.
pub(crate) fn none(obstacles: &[String]) -> Result<(), Box<dyn Error>> {
    if obstacles.is_empty() { Ok(()) } else { Err(obstacles.join("\nrelease: ").into()) }
}

/// The text below the heading of `version`, without the blank lines around it, if there is any.
pub(crate) fn section<'a>(changelog: &'a str, version: &str) -> Option<&'a str> {
    let heading = format!("## [{version}]");
    let mut rest = changelog;
    loop {
        let (line, after) = rest.split_once('\n')?;
        if line.starts_with(&heading) {
            let end = after.find("\n## ").unwrap_or(after.len());
            let text = after.get(..end).unwrap_or_default().trim();
            return (!text.is_empty() && !text.starts_with("## ")).then_some(text);
        }
        rest = after;
    }
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

    const CHANGELOG: &str = "# Changelog\n\n## [Unreleased]\n\n## [0.2.0] - 2026-12-01\n\n### Added\n\n- a thing\n\n\
                       ## [0.1.0] - 2026-11-01\n\nthe first\n";

    #[test]
    fn section_ends_at_the_next_version_and_is_not_empty() {
        for (version, text) in [
            ("0.2.0", Some("### Added\n\n- a thing")),
            ("0.1.0", Some("the first")),
            ("0.3.0", None),
            ("0.1", None),
            ("Unreleased", None),
        ] {
            assert_eq!(section(CHANGELOG, version), text, "{version}");
        }
    }
}
