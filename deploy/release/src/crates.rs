//! The crates that are linked into a program, as cargo knows them.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

/// A crate of a registry.
pub(crate) struct Crate {
    pub(crate) name: String,
    /// The version.
    pub(crate) version: String,
    /// The SPDX expression of its licence.
    pub(crate) licence: String,
    pub(crate) folder: PathBuf,
}

/// A library in C that a crate contains.
pub(crate) struct Library {
    pub(crate) name: &'static str,
    /// The version.
    pub(crate) version: String,
    /// The SPDX expression of its licence.
    pub(crate) licence: &'static str,
    /// The file with the licence's text.
    pub(crate) notice: PathBuf,
}

/// Crates that `package` links on `target`, without those that only run while it is built, sorted.
pub(crate) fn linked(package: &str, target: &str) -> Result<Vec<Crate>, Box<dyn Error>> {
    let tree = ["tree", "--locked", "-e", "normal,no-proc-macro", "--no-dedupe", "--prefix", "none"];
    let tree = cargo(&[&tree[..], &["--format", "{p}", "-p", package, "--target", target]].concat())?;
    // name v1.2.3 (/a/folder)
    let linked: BTreeSet<(&str, &str)> = tree
        .lines()
        .filter_map(|line| {
            let (name, rest) = line.split_once(" v")?;
            Some((name, rest.split(' ').next()?))
        })
        .collect();
    let metadata = cargo(&["metadata", "--locked", "--format-version", "1", "--filter-platform", target])?;
    let metadata: Value = serde_json::from_str(&metadata)?;
    let packages = metadata.get("packages").and_then(Value::as_array).ok_or("cargo names no packages")?;
    let mut crates = Vec::new();
    for package in packages.iter().filter(|package| package.get("source").is_some_and(Value::is_string)) {
        let text = |key: &str| package.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        // This one is only built for openssl-sys, but its library is linked.
        let is_openssl =
            text("name") == "openssl-src" && linked.iter().any(|(name, _)| *name == "openssl-sys");
        if is_openssl || linked.contains(&(&text("name"), &text("version"))) {
            let folder = PathBuf::from(text("manifest_path")).parent().map(PathBuf::from).unwrap_or_default();
            // An old way to write "or".
            let licence = text("license").replace(" / ", " OR ").replace('/', " OR ");
            crates.push(Crate { name: text("name"), version: text("version"), licence, folder });
        }
    }
    crates.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    if crates.is_empty() { Err(format!("{package} links no crate").into()) } else { Ok(crates) }
}

/// The libraries in C that these crates contain.
pub(crate) fn libraries(crates: &[Crate]) -> Result<Vec<Library>, Box<dyn Error>> {
    let mut libraries = Vec::new();
    for one in crates {
        let Some((_, name, licence, notice, version)) = LIBRARIES.iter().find(|known| known.0 == one.name)
        else {
            continue;
        };
        let version = match version {
            // The crate's version ends with it: 4.10.0+2.12.1, 2.0.16+zstd.1.5.7
            Version::Suffix(prefix) => {
                one.version.split_once('+').map(|(_, suffix)| suffix.trim_start_matches(prefix).to_owned())
            }
            Version::Define(file, define) => {
                let text = fs::read_to_string(one.folder.join(file))?;
                let value =
                    text.lines().find_map(|line| line.strip_prefix(define)?.split_whitespace().next());
                value.map(|value| value.trim_matches('"').to_owned())
            }
        };
        let version =
            version.ok_or_else(|| format!("{} {}: which version of {name}?", one.name, one.version))?;
        libraries.push(Library { name, version, licence, notice: one.folder.join(notice) });
    }
    Ok(libraries)
}

fn cargo(arguments: &[&str]) -> Result<String, Box<dyn Error>> {
    let output = Command::new(env!("CARGO")).args(arguments).output()?;
    if output.status.success() {
        Ok(String::from_utf8(output.stdout)?)
    } else {
        Err(format!("cargo {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim())
            .into())
    }
}

/// Where a library's version is.
enum Version {
    /// After the plus in the crate's version, and after this.
    Suffix(&'static str),
    /// In a line of a header, after this.
    Define(&'static str, &'static str),
}

/// Crates that contain a library: its name, its licence, the file with it, and where the version is.
const LIBRARIES: [(&str, &str, &str, &str, Version); 5] = [
    (
        "libz-sys",
        "zlib",
        "Zlib",
        "src/zlib/LICENSE",
        Version::Define("src/zlib/zlib.h", "#define ZLIB_VERSION "),
    ),
    ("rdkafka-sys", "librdkafka", "BSD-2-Clause", "librdkafka/LICENSES.txt", Version::Suffix("")),
    ("openssl-src", "openssl", "Apache-2.0", "openssl/LICENSE.txt", Version::Suffix("")),
    ("zstd-sys", "zstd", "BSD-3-Clause", "zstd/LICENSE", Version::Suffix("zstd.")),
    (
        "libmimalloc-sys",
        "mimalloc",
        "MIT",
        "c_src/mimalloc/v3/LICENSE",
        // 30302 is 3.3.2.
        Version::Define("c_src/mimalloc/v3/include/mimalloc.h", "#define MI_MALLOC_VERSION "),
    ),
];
