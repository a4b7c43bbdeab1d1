//! The sections of CHANGELOG.md.

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

    const LOG: &str = "# Changelog\n\n## [Unreleased]\n\n## [0.2.0] - 2026-12-01\n\n### Added\n\n- a thing\n\n\
                       ## [0.1.0] - 2026-11-01\n\nthe first\n";

    #[test]
    fn section_ends_at_the_next_version() {
        assert_eq!(section(LOG, "0.2.0"), Some("### Added\n\n- a thing"));
        assert_eq!(section(LOG, "0.1.0"), Some("the first"));
    }

    #[test]
    fn missing_and_empty_sections_are_none() {
        for version in ["0.3.0", "0.1", "Unreleased"] {
            assert_eq!(section(LOG, version), None, "{version}");
        }
    }
}
