//! The source of a release: a version, and the commit that has it.

use std::error::Error;
use std::process::Command;

pub(crate) struct Source {
    pub(crate) version: String,
    /// The commit's hash; `-dirty` is added if files differ from it.
    pub(crate) revision: String,
    /// The commit's time, as RFC 3339 says it.
    pub(crate) created: String,
    /// The same in seconds since 1970.
    pub(crate) time: u64,
}

impl Source {
    /// The checkout in the working directory.
    pub(crate) fn here() -> Result<Self, Box<dyn Error>> {
        let mut revision = git(&["rev-parse", "HEAD"])?;
        if is_dirty()? {
            revision.push_str("-dirty");
        }
        Ok(Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            revision,
            created: git(&["log", "-1", "--date=format-local:%Y-%m-%dT%H:%M:%SZ", "--format=%cd"])?,
            time: git(&["log", "-1", "--format=%ct"])?.parse()?,
        })
    }
}

/// Whether files are changed or not added.
pub(crate) fn is_dirty() -> Result<bool, Box<dyn Error>> {
    Ok(!git(&["status", "--porcelain"])?.is_empty())
}

fn git(arguments: &[&str]) -> Result<String, Box<dyn Error>> {
    let output = Command::new("git").env("TZ", "UTC").args(arguments).output();
    let output = output.map_err(|error| format!("git cannot be run: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    } else {
        Err(format!("git {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim()).into())
    }
}
